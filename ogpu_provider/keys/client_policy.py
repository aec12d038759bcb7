"""What the gateway's key may sign: a client's three functions, and no transfer of any kind.

It pays from its balance in the Vault, never by value, so the most that a stolen gateway process can spend through
this signer is what lies in the Vault, `payment_cap` at a time. Calldata is accepted only in its canonical encoding.
The Vault itself is out of reach, but for one call, byte for byte the one that an operator has just confirmed; the
gateway is never given such a call.
"""

from dataclasses import dataclass

from ogpu_provider.domain.intent import Effect
from ogpu_provider.domain.units import Address, Wei
from ogpu_provider.keys.policy import (
    VAULT_SELECTORS,
    WORD,
    Decoded,
    TxRequest,
    VaultCall,
    abi_address,
    abi_number,
    abi_string,
    address_bytes,
    check_terms,
    expect,
    refused,
)

SELECTORS = {
    bytes.fromhex("90d93b1d"): Effect.PUBLISH_TASK,
    bytes.fromhex("76aafbdb"): Effect.CANCEL_TASK,
    bytes.fromhex("45fac6ec"): Effect.CONFIRM_RESPONSE,
}


@dataclass(frozen=True, slots=True)
class ClientPolicy:
    """`gas_cap` in gas, `fee_cap` in wei per gas, `payment_cap` in wei for one task."""

    chain_id: int
    client: Address
    controller: Address
    gas_cap: int = 5_000_000
    fee_cap: Wei = 500 * 10**9
    payment_cap: Wei = 10**18
    confirmed: VaultCall | None = None

    @property
    def account(self) -> Address:
        return self.client

    def check(self, request: TxRequest) -> Decoded:
        """What the request does. Raises KeyRefused key.policy unless every rule allows it."""
        check_terms(request, self.chain_id, self.gas_cap, self.fee_cap)
        if self.confirmed is not None and self.confirmed.is_just(request):
            return Decoded(VAULT_SELECTORS[bytes(request.data[:4])])
        if request.value != 0:
            raise refused(f"it would send {request.value} wei")
        if not request.data and address_bytes(request.to) == address_bytes(self.client):
            return Decoded(Effect.FILL, subject=address_bytes(self.client))
        if address_bytes(request.to) != address_bytes(self.controller):
            raise refused(f"it goes to {request.to}, which is not the Controller")
        effect, subject, payment = decode(request.data)
        if payment > self.payment_cap:
            raise refused(f"it pays {payment} wei for one task, more than {self.payment_cap}")
        return Decoded(effect, subject)


def decode(data: bytes) -> tuple[Effect, bytes, Wei]:
    """Effect, subject (the source; the task; the response) and payment. Raises KeyRefused key.policy."""
    effect = SELECTORS.get(bytes(data[:4]))
    if effect is None:
        raise refused(f"no function with selector 0x{data[:4].hex()} is allowed")
    body = bytes(data[4:])
    if len(body) % WORD:
        raise refused(f"{effect}: calldata is not whole words")
    words = [body[i : i + WORD] for i in range(0, len(body), WORD)]
    if effect is not Effect.PUBLISH_TASK:
        expect(len(words) == 1, effect)
        return effect, abi_address(words[0], effect), 0
    # publishTask((source, config, expiryTime, payment)): offset, four words, then the string behind them
    expect(len(words) >= 6 and abi_number(words[0]) == WORD and abi_number(words[2]) == 4 * WORD, effect)
    abi_string(words[5:], effect)
    return effect, abi_address(words[1], effect), abi_number(words[4])
