"""Blocks that nobody announced, or that came while we were away: read by ranges, and the newest one by one.

A range's ends have to be shown by the node. Behind one address there may be several nodes, and one that lags answers
a range with what it has, so the newest blocks are read by their hashes.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import pairwise
from typing import Any

import structlog

from ogpu_provider.chain.decode import Decoder, Json, in_order
from ogpu_provider.chain.feed import Feed
from ogpu_provider.chain.logbook import DOUBTS, READ_PAUSES, Logbook, as_logs
from ogpu_provider.chain.trail import Trail, blocks_of, header_call
from ogpu_provider.chain.wire import JsonRpcError
from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.errors import RpcUnavailable
from ogpu_provider.domain.facts import Block, Fact

log = structlog.get_logger(__name__)

Tell = Callable[[Block, Sequence[Json], str], Awaitable[None]]
HandOver = Callable[[Block, Sequence[Fact]], Awaitable[None]]
Concerning = Callable[[Sequence[Fact]], Sequence[Fact]]

NEAR = 16
"""Blocks below a head that a lagging node may not have, and that are not read by range."""
_MANY_LOGS = 5000  # in one answer; more, and the next range is halved
_HEADERS = 100  # asked for in one round trip
_AT_A_TIME = 250  # logs decoded before others have their turn; some milliseconds


class Backlog:
    """`chunk` and `chunk_max`: blocks in one range, at first and at most; it adapts to what nodes answer.

    `concerning` picks the facts that anything is to be spent on. Raises RpcUnavailable, JsonRpcError.
    """

    def __init__(
        self,
        feed: Feed,
        trail: Trail,
        logbook: Logbook,
        decoder: Decoder,
        clock: Clock,
        *,
        tell: Tell,
        hand_over: HandOver,
        concerning: Concerning,
        chunk: int,
        chunk_max: int,
    ) -> None:
        self._feed = feed
        self._trail = trail
        self._logbook = logbook
        self._decoder = decoder
        self._clock = clock
        self._tell = tell
        self._hand_over = hand_over
        self._concerning = concerning
        self._chunk = chunk
        self._chunk_max = chunk_max
        self._doubts = 0

    async def read(self, target: int) -> None:
        """Deliver what lies between the last block and `target`, inclusive; returns early after a rewind."""
        self._doubts = 0
        while (last := self._trail.last) is not None and last.number < target:
            if target - last.number <= NEAR:
                return await self._walk(last, target)
            if not await self._range(last, min(target - NEAR, last.number + self._chunk)):
                return None
        return None

    async def _range(self, last: Block, end: int) -> bool:
        """One range, or a smaller one the next time. False: the chain is not the one that we are on."""
        first = last.number + 1
        calls = [self._logbook.range_call(first, end), header_call(first), header_call(end)]
        try:
            answer, *ends = await self._feed.batch(calls)
        except RpcUnavailable:
            self._chunk = max(1, self._chunk // 2)
            raise
        if isinstance(answer, JsonRpcError):
            if self._chunk == 1:
                raise answer
            self._chunk = max(1, (end - first + 1) // 2)
            log.info("chain_range_refused", blocks=end - first + 1, reason=str(answer), next=self._chunk)
            return True
        logs = as_logs(answer)
        begin, final = blocks_of(ends)
        if begin.parent_hash != last.hash:
            await self._trail.rewind(last)
            return False
        if self._doubts < DOUBTS and self._logbook.withheld(ends, logs):
            await self._clock.sleep(READ_PAUSES[self._doubts])
            self._doubts += 1
            return True
        self._doubts = 0
        await self._deliver(logs, {first: begin, end: final}, final)
        many = len(logs) > _MANY_LOGS
        self._chunk = max(1, self._chunk // 2) if many else min(self._chunk_max, self._chunk * 2)
        return True

    async def _walk(self, last: Block, target: int) -> None:
        """The newest blocks: each by its hash, in two round trips."""
        headers: list[Any] = await self._feed.batch([header_call(n) for n in range(last.number + 1, target + 1)])
        blocks = blocks_of(headers)
        if blocks[0].parent_hash != last.hash:
            return await self._trail.rewind(last)
        if any(child.parent_hash != block.hash for block, child in pairwise(blocks)):
            raise RpcUnavailable("the chain changed while it was being read")
        found = await self._logbook.of_blocks(blocks, headers)
        for block, (logs, told_by) in zip(blocks, found, strict=True):
            if logs or block is blocks[-1]:
                await self._tell(block, logs, told_by)
            else:
                self._trail.remember(block)
        return None

    async def _facts(self, logs: Sequence[Json]) -> list[Fact]:
        """Many logs are decoded bit by bit: tasks at work must not wait for history."""
        found: list[Fact] = []
        for start in range(0, len(logs), _AT_A_TIME):
            found += self._decoder.facts(logs[start : start + _AT_A_TIME])
            await asyncio.sleep(0)
        return in_order(found)

    async def _deliver(self, logs: Sequence[Json], blocks: dict[int, Block], final: Block) -> None:
        by_block: dict[int, list[Fact]] = {final.number: []}
        for fact in self._concerning(await self._facts(logs)):
            by_block.setdefault(fact.origin.block_number, []).append(fact)
        missing = [number for number in by_block if number not in blocks]
        for start in range(0, len(missing), _HEADERS):
            some = missing[start : start + _HEADERS]
            headers = await self._feed.batch([header_call(number) for number in some])
            blocks |= zip(some, blocks_of(headers), strict=True)
        if any(fact.origin.block_hash != blocks[number].hash for number, facts in by_block.items() for fact in facts):
            raise RpcUnavailable("the chain changed while it was being read")
        for number in sorted(by_block):
            await self._hand_over(blocks[number], by_block[number])
