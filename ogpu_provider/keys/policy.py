"""What the provider key may sign, whatever it is asked for.

The key is hot and the host runs strangers' code, so the signer trusts nobody: one chain, two contracts, seven
functions, no value, no more gas than allowed, and never in the name of another provider or for another master.
Calldata is accepted only in its canonical encoding: what is checked here is then what the contract reads.

The Vault is out of reach, but for one call, byte for byte the one that an operator has just confirmed. The daemon is
never given such a call. An empty transaction to ourselves is allowed too: it uses a nonce up.
"""

from dataclasses import dataclass

from ogpu_provider.domain.errors import KeyRefused
from ogpu_provider.domain.intent import Effect
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.units import Address, Wei

SELECTORS = {
    bytes.fromhex("e97791e6"): Effect.REGISTER,
    bytes.fromhex("4a45b60b"): Effect.UNREGISTER,
    bytes.fromhex("84895f34"): Effect.ATTEMPT,
    bytes.fromhex("2cbb753b"): Effect.SUBMIT_RESPONSE,
    bytes.fromhex("60b08e23"): Effect.ANNOUNCE_MASTER,
    bytes.fromhex("0cac8f04"): Effect.SET_BASE_DATA,
    bytes.fromhex("ac17960f"): Effect.SET_LIVE_DATA,
}
VAULT_SELECTORS = {
    bytes.fromhex("f340fa01"): Effect.DEPOSIT,
    bytes.fromhex("dd467064"): Effect.LOCK,
    bytes.fromhex("27de9e32"): Effect.UNBOND,
    bytes.fromhex("a9b82819"): Effect.CANCEL_UNBONDING,
    bytes.fromhex("4e71d92d"): Effect.CLAIM,
    bytes.fromhex("2e1a7d4d"): Effect.WITHDRAW,
}
ON_NEXUS = frozenset({Effect.REGISTER, Effect.UNREGISTER, Effect.ATTEMPT, Effect.SUBMIT_RESPONSE})
_STATIC_WORDS = {Effect.REGISTER: 3, Effect.UNREGISTER: 2, Effect.ATTEMPT: 3, Effect.ANNOUNCE_MASTER: 1}
WORD = 32
_NONCE_LIMIT = 2**64 - 1  # EIP-2681


@dataclass(frozen=True, slots=True)
class TxRequest:
    """Everything that would be signed. Fees in wei per gas, `tip_fee` None for a legacy transaction."""

    chain_id: int
    to: Address
    data: bytes
    value: Wei
    nonce: int
    gas: int
    max_fee: Wei
    tip_fee: Wei | None


@dataclass(frozen=True, slots=True)
class VaultCall:
    """A call to the Vault as it was shown and confirmed. `value` in wei."""

    vault: Address
    data: bytes
    value: Wei

    def is_just(self, request: TxRequest) -> bool:
        """Whether the request is this call, byte for byte."""
        return (
            address_bytes(request.to) == address_bytes(self.vault)
            and (bytes(request.data), request.value) == (self.data, self.value)
            and bytes(request.data[:4]) in VAULT_SELECTORS
        )


@dataclass(frozen=True, slots=True)
class Decoded:
    """What calldata says: `subject` is the task or source, None for functions without one."""

    effect: Effect
    subject: bytes | None = None
    provider: bytes | None = None
    master: bytes | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """`gas_cap` in gas, `fee_cap` in wei per gas. Without a `master`, no master can be announced; without a
    `confirmed` call, none to the Vault."""

    chain_id: int
    provider: Address
    nexus: Address
    terminal: Address
    gas_cap: int = 5_000_000
    fee_cap: Wei = 500 * 10**9
    master: Address | None = None
    confirmed: VaultCall | None = None

    @property
    def account(self) -> Address:
        return self.provider

    def check(self, request: TxRequest) -> Decoded:
        """What the request does. Raises KeyRefused key.policy unless every rule allows it."""
        check_terms(request, self.chain_id, self.gas_cap, self.fee_cap)
        if self.confirmed is not None and self.confirmed.is_just(request):
            return Decoded(VAULT_SELECTORS[bytes(request.data[:4])])
        if request.value != 0:
            raise refused(f"it would send {request.value} wei")
        if not request.data and address_bytes(request.to) == address_bytes(self.provider):
            return Decoded(Effect.FILL, subject=address_bytes(self.provider))
        decoded = decode(request.data)
        target = self.nexus if decoded.effect in ON_NEXUS else self.terminal
        if address_bytes(request.to) != address_bytes(target):
            raise refused(f"{decoded.effect} does not go to {request.to}")
        if decoded.effect in ON_NEXUS and decoded.provider != address_bytes(self.provider):
            raise refused(f"{decoded.effect} is for another provider")
        if decoded.effect is Effect.ANNOUNCE_MASTER and (
            self.master is None or decoded.master != address_bytes(self.master)
        ):
            raise refused("the master is not the configured one")
        return decoded


def check_terms(request: TxRequest, chain_id: int, gas_cap: int, fee_cap: Wei) -> None:
    """Chain, nonce, gas and fees of any transaction. Raises KeyRefused key.policy."""
    if request.chain_id != chain_id:
        raise refused(f"chain {request.chain_id} is not {chain_id}")
    if not 0 <= request.nonce < _NONCE_LIMIT:
        raise refused(f"nonce {request.nonce} is out of range")
    if not 0 < request.gas <= gas_cap:
        raise refused(f"gas {request.gas} is not within 1..{gas_cap}")
    if not 0 <= request.max_fee <= fee_cap:
        raise refused(f"fee {request.max_fee} is not within 0..{fee_cap} wei per gas")
    if request.tip_fee is not None and not 0 <= request.tip_fee <= request.max_fee:
        raise refused(f"tip {request.tip_fee} is not within 0..{request.max_fee} wei per gas")


def decode(data: bytes) -> Decoded:
    """Read calldata of one of the seven functions. Raises KeyRefused key.policy for anything else."""
    effect = SELECTORS.get(bytes(data[:4]))
    if effect is None:
        raise refused(f"no function with selector 0x{data[:4].hex()} is allowed")
    body = bytes(data[4:])
    if len(body) % WORD:
        raise refused(f"{effect}: calldata is not whole words")
    words = [body[i : i + WORD] for i in range(0, len(body), WORD)]
    if effect is Effect.SUBMIT_RESPONSE:
        return _submit(words)
    if effect in (Effect.SET_BASE_DATA, Effect.SET_LIVE_DATA):
        expect(len(words) >= 2 and abi_number(words[0]) == WORD, effect)
        abi_string(words[1:], effect)
        return Decoded(effect)
    expect(len(words) == _STATIC_WORDS[effect], effect)
    if effect is Effect.ANNOUNCE_MASTER:
        return Decoded(effect, master=abi_address(words[0], effect))
    if effect is Effect.REGISTER:
        expect(abi_number(words[2]) in list(Environment), effect)
    return Decoded(effect, abi_address(words[0], effect), abi_address(words[1], effect))


def _submit(words: list[bytes]) -> Decoded:
    """submitResponse((task, provider, data, payment)): offset, four words, then the string behind them."""
    effect = Effect.SUBMIT_RESPONSE
    expect(len(words) >= 6 and abi_number(words[0]) == WORD and abi_number(words[3]) == 4 * WORD, effect)
    abi_string(words[5:], effect)
    return Decoded(effect, abi_address(words[1], effect), abi_address(words[2], effect))


def abi_string(words: list[bytes], effect: Effect) -> None:
    """Length, bytes, zeros to the end of the last word, and nothing more."""
    size = abi_number(words[0])
    rest = b"".join(words[1:])
    expect(len(rest) == -(-size // WORD) * WORD and not any(rest[size:]), effect)


def abi_address(word: bytes, effect: Effect) -> bytes:
    expect(not any(word[:12]), effect)
    return word[12:]


def abi_number(word: bytes) -> int:
    return int.from_bytes(word, "big")


def expect(canonical: bool, effect: Effect) -> None:
    if not canonical:
        raise refused(f"{effect}: calldata is not encoded as the ABI asks")


def address_bytes(address: str) -> bytes:
    """The 20 bytes of an address. Raises KeyRefused key.policy for anything else."""
    try:
        raw = bytes.fromhex(address.removeprefix("0x"))
    except ValueError:
        raw = b""
    if len(raw) != 20:
        raise refused(f"{address!r} is not an address")
    return raw


def refused(why: str) -> KeyRefused:
    return KeyRefused(f"the signer refuses: {why}", code="key.policy")
