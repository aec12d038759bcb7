"""Raw logs and headers of the JSON-RPC interface, turned into facts and blocks. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from eth_utils.crypto import keccak

from ogpu_provider.chain.contracts import checksummed, topic
from ogpu_provider.domain.errors import ChainError, Retry
from ogpu_provider.domain.facts import (
    Attempted,
    Block,
    Fact,
    Origin,
    ProviderRemoved,
    Registered,
    RemoveContainer,
    ResponseSubmitted,
    SourcePublished,
    SourceStatusChanged,
    SourceUpdated,
    TaskPublished,
    TaskStatus,
    TaskStatusChanged,
)
from ogpu_provider.domain.source import Environment, SourceStatus
from ogpu_provider.domain.units import Address, Hash

Json = Mapping[str, Any]
"""A JSON object as the node sent it: untrusted."""


class _Words:
    """The data of a log, in 32-byte words. Every method raises ValueError if the word is not what is asked for."""

    def __init__(self, data: str) -> None:
        self._hex = data.removeprefix("0x")

    def number(self, index: int) -> int:
        word = self._hex[64 * index : 64 * index + 64]
        if len(word) != 64:
            raise ValueError("data is too short")
        return int(word, 16)

    def address(self, index: int) -> Address:
        value = self.number(index)
        if value >> 160:
            raise ValueError("not an address")
        return checksummed(f"0x{value:040x}")


_Maker = Callable[[Origin, _Words], Fact]

_NEXUS: Mapping[str, _Maker] = {
    topic("Nexus.TaskPublished"): lambda o, w: TaskPublished(o, w.address(0), w.address(1)),
    topic("Nexus.Attempted"): lambda o, w: Attempted(o, w.address(0), w.address(1), w.number(2)),
    topic("Nexus.Registered"): lambda o, w: Registered(o, w.address(0), w.address(2), Environment(w.number(3))),
    topic("Nexus.ResponseSubmitted"): lambda o, w: ResponseSubmitted(o, w.address(0), w.address(1)),
    topic("Nexus.TaskStatusChanged"): lambda o, w: TaskStatusChanged(o, w.address(0), TaskStatus(w.number(1))),
    topic("Nexus.SourcePublished"): lambda o, w: SourcePublished(o, w.address(0)),
    topic("Nexus.SourceStatusChanged"): lambda o, w: SourceStatusChanged(o, w.address(0), SourceStatus(w.number(1))),
    topic("Nexus.SourceUpdated"): lambda o, w: SourceUpdated(o, w.address(0)),
}
_TERMINAL: Mapping[str, _Maker] = {
    topic("Terminal.RemoveContainer"): lambda o, w: RemoveContainer(o, w.address(0), w.address(1)),
    topic("Terminal.ProviderRemoved"): lambda o, w: ProviderRemoved(o, w.address(0)),
}

TOPICS: Sequence[str] = (*_NEXUS, *_TERMINAL)
"""topic0 of every event that becomes a fact. The protocol has others, which are not asked for."""


class Decoder:
    """Turns logs of one deployment into facts. `malformed` and `foreign` count what was left out.

    Malformed: a topic of ours with data that does not fit. Foreign: a log of another contract, not asked for.
    """

    def __init__(self, nexus: Address, terminal: Address) -> None:
        self._makers = {nexus.lower(): _NEXUS, terminal.lower(): _TERMINAL}
        self.malformed = 0
        self.foreign = 0

    def fact(self, log: Json) -> Fact | None:
        """None for unknown topics, removed logs, and logs that are malformed or foreign."""
        try:
            makers = self._makers.get(log["address"].lower())
            if makers is None:
                self.foreign += 1
                return None
            topics = log["topics"]
            maker = makers.get(topics[0].lower()) if topics else None
            if maker is None or log.get("removed"):
                return None
            return maker(origin(log), _Words(log["data"]))
        except (KeyError, IndexError, TypeError, ValueError, AttributeError):
            self.malformed += 1
            return None

    def facts(self, logs: Iterable[Json]) -> list[Fact]:
        """Facts in chain order, each once."""
        return in_order(fact for log in logs if (fact := self.fact(log)) is not None)


def in_order(found: Iterable[Fact]) -> list[Fact]:
    """In chain order, each log once."""
    once = {(f.origin.block_hash, f.origin.tx_hash, f.origin.log_index): f for f in found}
    return sorted(once.values(), key=lambda f: (f.origin.block_number, f.origin.log_index))


def origin(log: Json) -> Origin:
    return Origin(
        block_number=quantity(log["blockNumber"]),
        block_hash=hash_(log["blockHash"]),
        tx_hash=hash_(log["transactionHash"]),
        log_index=quantity(log["logIndex"]),
    )


def block(header: object) -> Block:
    """From eth_getBlockBy*, or from a newHeads notification. Raises ChainError (`chain.malformed`)."""
    try:
        if not isinstance(header, Mapping):
            raise TypeError
        fee = header.get("baseFeePerGas")
        return Block(
            number=quantity(header["number"]),
            hash=hash_(header["hash"]),
            parent_hash=hash_(header["parentHash"]),
            timestamp=quantity(header["timestamp"]),
            base_fee=None if fee is None else quantity(fee),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as err:
        raise ChainError("the node sent a malformed block header", code="chain.malformed", retry=Retry.LATER) from err


def quantity(value: str) -> int:
    """'0x1f' -> 31. Raises ValueError or AttributeError."""
    if not value.startswith("0x"):
        raise ValueError("not a quantity")
    return int(value, 16)


def hash_(value: str) -> Hash:
    text = value.lower()
    if len(text) != 66 or not text.startswith("0x"):
        raise ValueError("not a hash")
    int(text, 16)
    return Hash(text)


class Bloom:
    """Which items a block's logs may hold: false means surely not, if the node fills `logsBloom` honestly."""

    def __init__(self, items: Iterable[str]) -> None:
        self._masks = tuple(_mask(bytes.fromhex(item.removeprefix("0x"))) for item in items)

    def may_hold(self, logs_bloom: object) -> bool:
        """False where the bloom is absent: nothing is concluded from it."""
        try:
            bits = int(logs_bloom, 16) if isinstance(logs_bloom, str) else 0
        except ValueError:
            return False
        return any(bits & mask == mask for mask in self._masks)


def _mask(item: bytes) -> int:
    digest = keccak(item)
    mask = 0
    for pair in range(0, 6, 2):  # three bits of 2048, by the first three 16-bit words (Yellow Paper, 4.3.1)
        mask |= 1 << (int.from_bytes(digest[pair : pair + 2], "big") & 2047)
    return mask
