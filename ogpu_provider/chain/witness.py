"""Asks a second endpoint about every log that leads to spending.

The path does not wait for it: an attempt is out before a far endpoint has answered. What it disproves is taken back
by the receiver, which stops work that was not promised yet. A log is disproved when the other endpoint has the same
block without it, and its bloom does not contradict that. An endpoint that does not have the block yet is asked again
for a while; one that never answers leaves the log as good as with a single endpoint.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, Self

import structlog

from ogpu_provider.chain.decode import TOPICS, Bloom, Decoder
from ogpu_provider.chain.feed import Feed
from ogpu_provider.chain.networks import Network
from ogpu_provider.chain.news import LogId
from ogpu_provider.chain.wire import Call
from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.facts import Attempted, Block, Fact, TaskPublished, TaskStatusChanged
from ogpu_provider.domain.together import begin

log = structlog.get_logger(__name__)

Disprove = Callable[[Block, Sequence[Fact]], Awaitable[None]]

_PAUSES = (0.1, 0.3, 1.0, 3.0, 5.0)  # seconds; the other endpoint may be some blocks behind
_HEARSAY = 0.02  # seconds in which the other endpoint may announce the same by itself
_DEAR = (TaskPublished, Attempted, TaskStatusChanged)
_AT_ONCE = 64  # blocks in question; more, and the newest are not asked about


class CrossCheck:
    """`async with CrossCheck(...) as witness`. `disprove` gets the facts of a block that another endpoint denies.

    `costs`: whether anything is done on a fact's word; asked once it was delivered.
    `disproved` and `unheard` count facts that were denied, and blocks that nobody else spoke about.
    """

    def __init__(
        self,
        feed: Feed,
        network: Network,
        clock: Clock,
        disprove: Disprove,
        *,
        costs: Callable[[Fact], bool] = lambda _: True,
    ) -> None:
        self._feed = feed
        self._clock = clock
        self._disprove = disprove
        self._costs = costs
        self._decoder = Decoder(network.nexus, network.terminal)
        self._filter = {"address": [network.nexus, network.terminal], "topics": [list(TOPICS)]}
        self._blooms = Bloom((network.nexus, network.terminal)), Bloom(TOPICS)
        self._group = asyncio.TaskGroup()
        self._open: set[asyncio.Task[None]] = set()
        self.disproved = 0
        self.unheard = 0

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._open:
            task.cancel()
        await self._group.__aexit__(kind, error, trace)

    def doubt(self, block: Block, facts: Sequence[Fact], told_by: str) -> None:
        dear = [fact for fact in facts if isinstance(fact, _DEAR) and self._costs(fact)]
        if not dear or len(self._open) >= _AT_ONCE:
            return
        task = begin(self._group, self._check(block, dear, told_by), name=f"cross-check {block.number}")
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _check(self, block: Block, facts: Sequence[Fact], told_by: str) -> None:
        await self._clock.sleep(_HEARSAY)
        facts = [fact for fact in facts if not self._feed.seconded(_id(fact))]
        if not facts:
            return
        for pause in (*_PAUSES, 0.0):
            denied = await self._denied(block, facts, told_by)
            if denied is not None:
                break
            await self._clock.sleep(pause)
        if denied is None:
            self.unheard += 1
            log.warning("chain_not_cross_checked", block=block.number, told_by=told_by)
        elif denied:
            self.disproved += len(denied)
            log.error("chain_log_disproved", block=block.number, told_by=told_by, facts=[str(fact) for fact in denied])
            await self._disprove(block, denied)

    async def _denied(self, block: Block, facts: Sequence[Fact], told_by: str) -> list[Fact] | None:
        """The facts that another endpoint does not have; None where it does not know the block."""
        logs_call: Call = ("eth_getLogs", ({"blockHash": block.hash, **self._filter},))
        answers = await self._feed.elsewhere([logs_call], told_by)
        if answers is None or not isinstance(answers[0], list):
            return None
        there = self._decoder.facts(one for one in answers[0] if isinstance(one, dict))
        missing = [fact for fact in facts if fact not in there]
        if missing and not await self._knows(block, told_by, empty=not there):
            return None
        return missing

    async def _knows(self, block: Block, told_by: str, *, empty: bool) -> bool:
        """Whether the other endpoint has the block, and does not promise logs that it did not give."""
        answers = await self._feed.elsewhere([("eth_getBlockByHash", (block.hash, False))], told_by)
        header: Any = answers[0] if answers else None
        if not isinstance(header, dict) or str(header.get("hash")).lower() != block.hash:
            return False
        bloom = header.get("logsBloom")
        return not (empty and all(mask.may_hold(bloom) for mask in self._blooms))


def _id(fact: Fact) -> LogId:
    origin = fact.origin
    return origin.block_hash, origin.tx_hash, hex(origin.log_index)
