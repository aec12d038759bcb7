"""A node with a long history of other people's tasks, made up as it is asked for: no log is kept."""

from collections.abc import Iterator
from typing import Any

from ogpu_provider.chain.contracts import topic
from ogpu_provider.chain.networks import devnet
from ogpu_provider.domain.units import Address
from tests.fakes.node import Refusal

NETWORK = devnet("http://unused")
LIFE = (
    "TaskPublished",
    "Attempted",
    "TaskStatusChanged",
    "ResponseSubmitted",
    "TaskStatusChanged",
    "TaskStatusChanged",
)
"""What a task leaves in the logs that we ask for, from its publication to its payment."""
_TOPICS = [topic(f"Nexus.{name}") for name in LIFE]
_STATUSES = {2: 1, 4: 2, 5: 5}
_FIRST_TASK, _SOURCE, _PROVIDER, _RESPONSE = 1 << 150, 1 << 151, 1 << 152, 1 << 153
_LIMIT = 10_000
"""Logs in one answer; a node refuses more."""


class Archive:
    """`blocks` with `per_block` logs each, from block 1 on; `reply` answers for a FakeNode.

    The task that begins in block n is `ours[n]` of `source` instead, where there is one. `deaf`: it ignores what it
    is asked to filter by, and gives logs of other contracts and of unknown kinds too.
    """

    def __init__(
        self, blocks: int, per_block: int, source: Address, ours: dict[int, Address], *, deaf: bool = False
    ) -> None:
        self.blocks = blocks
        self.per_block = per_block
        self.given = 0
        self._source = source
        self._ours = ours
        self._deaf = deaf

    def header(self, number: int) -> dict[str, Any]:
        return {
            "number": hex(number),
            "hash": _name(number),
            "parentHash": _name(number - 1),
            "timestamp": hex(1_700_000_000 + number),
            "baseFeePerGas": "0x1",
            "logsBloom": "0x" + "00" * 256,
        }

    def reply(self, method: str, params: list[Any]) -> Any:
        match method:
            case "eth_blockNumber":
                return hex(self.blocks)
            case "eth_getBlockByNumber":
                number = self.blocks if params[0] == "latest" else int(params[0], 16)
                return self.header(number) if number <= self.blocks else None
            case "eth_getLogs":
                first, end = self._span(params[0])
                if (end - first + 1) * self.per_block > _LIMIT:
                    raise Refusal(-32005, "query returned more than 10000 results")
                found = [log for number in range(max(first, 1), end + 1) for log in self._logs(number)]
                self.given += len(found)
                return found
        raise Refusal(-32601, f"no method {method}")

    def _span(self, wanted: dict[str, str]) -> tuple[int, int]:
        if "blockHash" in wanted:
            number = int(wanted["blockHash"], 16) & 0xFFFFFFFF
            return number, number
        return int(wanted["fromBlock"], 16), min(int(wanted["toBlock"], 16), self.blocks)

    def _logs(self, number: int) -> Iterator[dict[str, Any]]:
        for index in range(self.per_block):
            yield self._log(number, index, (number - 1) * self.per_block + index)
        if number in self._ours:
            words = int(self._ours[number], 16), int(self._source, 16)
            yield self._record(number, self.per_block, NETWORK.nexus, _TOPICS[0], words)
        if self._deaf:
            elsewhere = "0x" + "ee" * 20
            yield self._record(number, self.per_block + 1, elsewhere, _TOPICS[0], (1, int(self._source, 16)))
            yield self._record(number, self.per_block + 2, NETWORK.nexus, "0x" + "77" * 32, (1,))

    def _log(self, number: int, index: int, place: int) -> dict[str, Any]:
        task, step = divmod(place, len(LIFE))
        words: tuple[int, ...] = (_FIRST_TASK + task, _SOURCE + task % 50)
        if step == 1:
            words = (_FIRST_TASK + task, _PROVIDER + task % 200, 10**18)
        elif step == 3:
            words = (_RESPONSE + task, _FIRST_TASK + task)
        elif step in _STATUSES:
            words = (_FIRST_TASK + task, _STATUSES[step])
        return self._record(number, index, NETWORK.nexus, _TOPICS[step], words)

    def _record(self, number: int, index: int, address: str, kind: str, words: tuple[int, ...]) -> dict[str, Any]:
        return {
            "address": address,
            "topics": [kind],
            "data": "0x" + "".join(f"{word:064x}" for word in words),
            "blockNumber": hex(number),
            "blockHash": _name(number),
            "transactionHash": f"0x{(number << 20) + index:064x}",
            "transactionIndex": hex(index),
            "logIndex": hex(index),
            "removed": False,
        }


def _name(number: int) -> str:
    return f"0x{(1 << 200) + max(number, 0):064x}"
