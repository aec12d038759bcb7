"""The chain's past, read in ranges that adapt to what nodes answer: what was published, and what became of it."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from ogpu_provider.chain import contracts
from ogpu_provider.chain.contracts import Malformed, topic
from ogpu_provider.chain.decode import Decoder, Json, quantity
from ogpu_provider.chain.logbook import as_logs
from ogpu_provider.chain.networks import Network
from ogpu_provider.chain.reader import view
from ogpu_provider.chain.receipts import Node
from ogpu_provider.chain.trail import blocks_of, header_call
from ogpu_provider.chain.wire import Call, JsonRpcError
from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.errors import RpcRejected, RpcUnavailable
from ogpu_provider.domain.facts import Attempted, Block, ResponseSubmitted, TaskPublished, TaskStatusChanged
from ogpu_provider.domain.history import Passage, PastTask, Publication, Turn
from ogpu_provider.domain.source import SourceParams
from ogpu_provider.domain.units import Address

UNSETTLED = 12
"""Newest blocks that are left for another time: they may yet be undone."""
EVENTS = ("TaskPublished", "Attempted", "ResponseSubmitted", "TaskStatusChanged")
_TOPICS = [topic(f"Nexus.{name}") for name in EVENTS]
_CHUNK, _CHUNK_MAX = 1000, 20_000  # blocks in one range, at first and at most
_MANY_LOGS = 5000  # in one answer; more, and the next range is halved
_AT_A_TIME = 250  # logs decoded before others have their turn
_BATCH = 100  # calls in one round trip
PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds; after the last one the node is given up."""


class ChainPast:
    """Every read raises RpcUnavailable where the node does not answer for all of `pauses`, and JsonRpcError.

    `chunk`: blocks in the first range.
    """

    def __init__(
        self,
        node: Node,
        network: Network,
        clock: Clock,
        *,
        chunk: int = _CHUNK,
        pauses: Sequence[float] = PAUSES,
    ) -> None:
        self._node = node
        self._network = network
        self._clock = clock
        self._decoder = Decoder(network.nexus, network.terminal)
        self._chunk = chunk
        self._pauses = pauses

    async def newest(self) -> Block | None:
        """The newest block that counts as settled; None on a chain that has none yet."""
        head = quantity(await self._node.call("eth_blockNumber"))
        return await self.block(head - UNSETTLED) if head >= UNSETTLED else None

    async def block(self, number: int) -> Block:
        [found] = blocks_of(await self._ask([header_call(number)]))
        return found

    async def first_since(self, at: float, last: int) -> int:
        """The first block up to `last` whose time is `at` or later; `last` + 1 if there is none. By bisection."""
        low, high = 0, last + 1
        while low < high:
            middle = (low + high) // 2
            if (await self.block(middle)).timestamp >= at:
                high = middle
            else:
                low = middle + 1
        return low

    async def passages(self, first: int, last: int) -> AsyncIterator[Passage]:
        """The blocks from `first` to `last`, in stretches without gaps. A node that refuses a range gets less."""
        while first <= last:
            end = min(last, first + self._chunk - 1)
            logs = await self._logs(first, end)
            if logs is None:
                self._chunk = max(1, (end - first + 1) // 2)
                continue
            yield await self._passage(first, end, logs)
            many = len(logs) > _MANY_LOGS
            self._chunk = max(1, self._chunk // 2) if many else min(_CHUNK_MAX, self._chunk * 2)
            first = end + 1

    async def task(self, address: Address) -> PastTask | None:
        """A task that no block was read of: its terms and where it stands, block and time 0. None: it is no task."""
        params, status = await self._ask([view(address, "Task.taskParams"), view(address, "Task.getStatus")])
        if isinstance(params, JsonRpcError) or isinstance(status, JsonRpcError):
            return None
        try:
            one, end = contracts.task_view(address, params), contracts.task_status(status)
        except Malformed:
            return None
        return PastTask(
            Address(address.lower()), one.source, 0, 0, one.payment, one.expiry, end=end if end.over else None
        )

    async def terms(self, sources: Sequence[Address]) -> list[SourceParams]:
        """The terms of sources as they are now; those that answer nothing that fits are left out."""
        found: list[SourceParams] = []
        step = _BATCH // 2
        for start in range(0, len(sources), step):
            some = sources[start : start + step]
            calls = [view(one, name) for one in some for name in ("Source.getSourceParams", "Source.getStatus")]
            answers = await self._ask(calls)
            for index, source in enumerate(some):
                params, status = answers[2 * index : 2 * index + 2]
                if isinstance(params, JsonRpcError) or isinstance(status, JsonRpcError):
                    continue
                with suppress(Malformed):
                    found.append(contracts.source_params(source, params, status))
        return found

    async def _logs(self, first: int, end: int) -> list[Json] | None:
        """None: the node refuses a range of this length, and a shorter one may do."""
        wanted = {
            "fromBlock": hex(first),
            "toBlock": hex(end),
            "address": self._network.nexus,
            "topics": [_TOPICS],
        }
        if end == first:
            return as_logs(await self._ask_one("eth_getLogs", wanted))
        try:
            return as_logs(await self._node.call("eth_getLogs", wanted))
        except (RpcUnavailable, RpcRejected):
            return None

    async def _passage(self, first: int, end: int, logs: Sequence[Json]) -> Passage:
        published: list[TaskPublished] = []
        turns: list[Turn] = []
        for start in range(0, len(logs), _AT_A_TIME):
            for fact in self._decoder.facts(logs[start : start + _AT_A_TIME]):
                if isinstance(fact, TaskPublished):
                    published.append(fact)
                elif isinstance(fact, Attempted | ResponseSubmitted | TaskStatusChanged):
                    turns.append(fact)
            await asyncio.sleep(0)
        times, final = await self._times({fact.origin.block_number for fact in (*published, *turns)}, end, logs)
        tasks, unread = await self._publications(published, times)
        timed = [(times[turn.origin.block_number], turn) for turn in turns]
        return Passage(first, end, final.hash, final.timestamp, tasks, timed, unread)

    async def _times(self, numbers: set[int], end: int, logs: Sequence[Json]) -> tuple[Mapping[int, int], Block]:
        """Of each block, from the logs where the node puts it there; and the block at the end."""
        known: dict[int, int] = {}
        for log in logs:
            if isinstance(stamp := log.get("blockTimestamp"), str):
                known[quantity(log["blockNumber"])] = quantity(stamp)
        missing = sorted(numbers - known.keys() - {end})
        calls = [header_call(number) for number in (*missing, end)]
        blocks = blocks_of(await self._ask(calls))
        return known | {block.number: block.timestamp for block in blocks}, blocks[-1]

    async def _publications(
        self, published: Sequence[TaskPublished], times: Mapping[int, int]
    ) -> tuple[list[Publication], int]:
        answers = await self._ask([view(fact.task, "Task.taskParams") for fact in published])
        found: list[Publication] = []
        for fact, answer in zip(published, answers, strict=True):
            if isinstance(answer, JsonRpcError):
                continue
            with suppress(Malformed):
                one = contracts.task_view(fact.task, answer)
                number, place = fact.origin.block_number, fact.origin.log_index
                found.append(Publication(fact.task, fact.source, number, place, times[number], one.payment, one.expiry))
        return found, len(published) - len(found)

    async def _ask_one(self, method: str, *params: Any) -> Any:
        [answer] = await self._ask([(method, params)])
        if isinstance(answer, JsonRpcError):
            raise answer
        return answer

    async def _ask(self, calls: Sequence[Call]) -> list[Any | JsonRpcError]:
        """In batches, each asked for again after a pause where nobody answers."""
        answers: list[Any | JsonRpcError] = []
        for start in range(0, len(calls), _BATCH):
            answers += await self._patiently(calls[start : start + _BATCH])
        return answers

    async def _patiently(self, calls: Sequence[Call]) -> list[Any | JsonRpcError]:
        for pause in self._pauses:
            try:
                return await self._node.batch(calls)
            except RpcUnavailable:
                await self._clock.sleep(pause)
        return await self._node.batch(calls)
