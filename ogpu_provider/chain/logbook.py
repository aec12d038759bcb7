"""Logs of our contracts, read so that a node that does not have them cannot answer 'none'."""

from collections.abc import Sequence
from typing import Any

from ogpu_provider.chain import decode
from ogpu_provider.chain.decode import TOPICS, Bloom, Json
from ogpu_provider.chain.feed import Feed
from ogpu_provider.chain.networks import Network
from ogpu_provider.chain.wire import Call, JsonRpcError
from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.errors import RpcUnavailable
from ogpu_provider.domain.facts import Block

READ_PAUSES = (0.02, 0.05, 0.1, 0.2, 0.4)
"""Seconds; the node that answers may be behind the one that announced."""
DOUBTS = 2
"""How often an empty answer is doubted that the block's bloom contradicts."""


class Logbook:
    """Every read may raise RpcUnavailable. `filter` is what the logs are asked for, and subscribed to, with."""

    def __init__(self, feed: Feed, network: Network, clock: Clock) -> None:
        self._feed = feed
        self._clock = clock
        self.filter: Json = {"address": [network.nexus, network.terminal], "topics": [list(TOPICS)]}
        self._addresses = Bloom((network.nexus, network.terminal))
        self._topics = Bloom(TOPICS)

    def promises(self, header: Json) -> bool:
        """Whether the block's bloom says that there should be logs for us; it may err, though seldom."""
        bloom = header.get("logsBloom")
        return self._addresses.may_hold(bloom) and self._topics.may_hold(bloom)

    def has_marks(self, header: Json) -> bool:
        """Whether the block's bloom says anything at all: this chain fills blooms, then."""
        bloom = header.get("logsBloom")
        return isinstance(bloom, str) and bool(bloom.removeprefix("0x").strip("0"))

    def is_idle(self, header: Json) -> bool:
        """Whether the block used no gas, so that nothing in it can have left a log."""
        return header.get("gasUsed") in ("0x0", "0x")

    def withheld(self, headers: Sequence[Any], logs: Sequence[Json]) -> bool:
        """Whether one of these blocks promises logs and none of them is there."""
        told = {str(one.get("blockHash")).lower() for one in logs}
        return any(self.promises(one) and decode.block(one).hash not in told for one in headers)

    async def of_block(self, block: Block, header: Json) -> tuple[list[Json], str]:
        """The logs of one block, by its hash, and who told. Raises RpcUnavailable when no node has it even now."""
        promised = self.promises(header)
        refusal: Exception | None = None
        for tried, pause in enumerate((*READ_PAUSES, 0.0)):
            [answer], told_by = await self._feed.attributed([self._call(block)])
            if isinstance(answer, JsonRpcError):
                refusal = answer
            else:
                logs = _of(block, answer)
                if logs or not promised:
                    return logs, told_by
                if tried >= DOUBTS:
                    return await self._elsewhere(block, told_by)
            await self._clock.sleep(pause)
        raise RpcUnavailable(f"the node has no logs of block {block.number}: {refusal}") from refusal

    async def of_blocks(self, blocks: Sequence[Block], headers: Sequence[Json]) -> list[tuple[list[Json], str]]:
        """The same for several blocks, in one round trip if all goes well."""
        answers, told_by = await self._feed.attributed([self._call(block) for block in blocks])
        found: list[tuple[list[Json], str]] = []
        for block, header, answer in zip(blocks, headers, answers, strict=True):
            logs = [] if isinstance(answer, JsonRpcError) else _of(block, answer)
            if isinstance(answer, JsonRpcError) or (not logs and self.promises(header)):
                found.append(await self.of_block(block, header))
            else:
                found.append((logs, told_by))
        return found

    def range_call(self, first: int, end: int) -> Call:
        return "eth_getLogs", ({"fromBlock": hex(first), "toBlock": hex(end), **self.filter},)

    def _call(self, block: Block) -> Call:
        return "eth_getLogs", ({"blockHash": block.hash, **self.filter},)

    async def _elsewhere(self, block: Block, told_by: str) -> tuple[list[Json], str]:
        """The logs that one endpoint gives although another has none; whose word that is stays in question."""
        answers = await self._feed.elsewhere([self._call(block)], told_by)
        if not answers or isinstance(answers[0], JsonRpcError):
            return [], told_by
        return _of(block, answers[0]), ""


def as_logs(answer: object) -> list[Json]:
    """Raises RpcUnavailable if it is no list of logs."""
    if not isinstance(answer, list) or not all(isinstance(one, dict) for one in answer):
        raise RpcUnavailable("eth_getLogs: the answer is not a list of logs")
    return answer


def _of(block: Block, answer: object) -> list[Json]:
    logs = as_logs(answer)
    if any(str(one.get("blockHash")).lower() != block.hash for one in logs):
        raise RpcUnavailable(f"asked for the logs of block {block.number}, the node gave those of another")
    return logs
