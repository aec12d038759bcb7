"""What a master does for its provider: the transactions it signs elsewhere, and its words on chain."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eth_utils.crypto import keccak

from ogpu_provider.chain.contracts import checksummed, encode_call
from ogpu_provider.chain.networks import Network
from ogpu_provider.chain.receipts import Node
from ogpu_provider.domain.errors import RpcRejected
from ogpu_provider.domain.units import Address, Hash, Wei

_PROVIDER = "0x" + keccak(text="ProviderAnnounced(address,address)").hex()
_MASTER = "0x" + keccak(text="MasterAnnounced(address,address)").hex()
_REMOVED = "0x" + keccak(text="ProviderRemoved(address)").hex()


@dataclass(frozen=True, slots=True)
class Unsigned:
    """A transaction that somebody else is to sign: recipient, wei sent along, input, and the same in words."""

    chain_id: int
    to: Address
    value: Wei
    data: bytes
    function: str
    arguments: tuple[tuple[str, str], ...]

    @property
    def link(self) -> str:
        """EIP-681: what wallets read from a link or a QR code. Arguments are typed, so it needs no calldata."""
        query = "&".join([*(f"{kind}={value}" for kind, value in self.arguments), f"value={self.value}"])
        return f"ethereum:{self.to}@{self.chain_id}/{self.function}?{query}"

    @property
    def words(self) -> str:
        return f"{self.function}({', '.join(value for _, value in self.arguments)})"


def announce_provider(network: Network, provider: Address, amount: Wei) -> Unsigned:
    """The master's half of the pairing; the amount becomes lockup of the provider."""
    data = encode_call("Terminal.announceProvider", provider, amount)
    arguments = (("address", provider), ("uint256", str(amount)))
    return Unsigned(network.chain_id, network.terminal, amount, data, "announceProvider", arguments)


def vault_call(network: Network, function: str, *arguments: Address | Wei, value: Wei = 0) -> Unsigned:
    """One of the Vault's functions for an account's own money: deposit, lock, unbond, claim, withdraw, …"""
    typed = tuple(("uint256" if isinstance(one, int) else "address", str(one)) for one in arguments)
    data = encode_call(f"Vault.{function}", *arguments)
    return Unsigned(network.chain_id, network.vault, value, data, function, typed)


@dataclass(frozen=True, slots=True)
class Word:
    """One announcement or removal in the Terminal's logs; `master` is None for a removal."""

    by_master: bool
    provider: Address
    master: Address | None
    tx_hash: Hash


@dataclass(frozen=True, slots=True)
class Sent:
    """A transaction as it was signed."""

    to: Address | None
    value: Wei
    data: bytes


async def words(rpc: Node, network: Network, since: int = 0) -> list[Word] | None:
    """All announcements from a block on, oldest first; None where the node refuses to look that far."""
    wanted = {
        "address": network.terminal,
        "fromBlock": hex(since),
        "toBlock": "latest",
        "topics": [[_PROVIDER, _MASTER, _REMOVED]],
    }
    try:
        logs: Sequence[Any] = await rpc.call("eth_getLogs", wanted)
    except RpcRejected:
        return None
    return [_word(log) for log in logs]


def _word(log: Any) -> Word:
    data = bytes.fromhex(log["data"].removeprefix("0x"))
    addresses = [checksummed("0x" + data[at + 12 : at + 32].hex()) for at in range(0, len(data), 32)]
    master = addresses[1] if len(addresses) > 1 else None
    return Word(log["topics"][0] == _PROVIDER, addresses[0], master, Hash(log["transactionHash"]))


async def sent(rpc: Node, tx_hash: Hash) -> Sent | None:
    """What a transaction says, None if the node does not know it."""
    found = await rpc.call("eth_getTransactionByHash", tx_hash)
    if found is None:
        return None
    to = checksummed(found["to"]) if found.get("to") else None
    return Sent(to, int(found["value"], 16), bytes.fromhex(found["input"].removeprefix("0x")))
