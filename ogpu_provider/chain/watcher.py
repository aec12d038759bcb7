"""Follows the chain and delivers its facts, block by block, without a gap.

The newest block is announced by the node or asked for; each is read by its hash, so that a node that does not have it
cannot answer 'no logs'. What was missed is read by ranges whose ends the node has to show, except for the newest
blocks: behind one address there may be several nodes, and one that lags answers a range with what it has, so those
are read by their hashes too. Blocks hang together by their parents' hashes; where they do not, the watcher goes back
to the last block that is still on the chain, and says that everything above it is undone.

    cursor ──on the chain──▶ CATCH UP ──16 blocks below──▶ WALK ──▶ FOLLOW ◀─────────────┐
      │                      by ranges      the head     by hash    │ │ └─ next block ───┘
      └─ gone ─┐                 ▲                                  │ └─ a gap ──▶ CATCH UP
               ▼                 │                                  │
             REWIND ── undo ─────┘ ◀── a parent's hash differs ─────┤     (in CATCH UP and WALK too)
                                                                    └─ silence, or an error ──▶ pause, subscribe anew
                                                                       or ask for the newest block, CATCH UP
"""

import asyncio
import random as _random
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import structlog

from ogpu_provider.chain import decode
from ogpu_provider.chain.backlog import Backlog, Concerning
from ogpu_provider.chain.decode import Decoder, Json
from ogpu_provider.chain.feed import Feed
from ogpu_provider.chain.logbook import Logbook, as_logs
from ogpu_provider.chain.networks import Network
from ogpu_provider.chain.news import NewsStream
from ogpu_provider.chain.overheard import Overheard
from ogpu_provider.chain.pace import Pace
from ogpu_provider.chain.trail import Trail, Undo, blocks_of, header_call
from ogpu_provider.chain.wire import JsonRpcError
from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.errors import ChainError, RpcRejected, RpcUnavailable, WrongNetwork
from ogpu_provider.domain.facts import Block, Fact
from ogpu_provider.domain.units import Hash

log = structlog.get_logger(__name__)

Deliver = Callable[[Block, Sequence[Fact]], Awaitable[None]]


class Witness(Protocol):
    """Holds what one endpoint said against another."""

    def doubt(self, block: Block, facts: Sequence[Fact], told_by: str) -> None:
        """Take note of facts that were delivered. Returns at once."""
        ...


_CONFLICTS = 6  # rewinds while reading up to one head, before the node is called unavailable
_GRACE = 0.15  # seconds; a block's logs may be announced after its header
_SILENT = 5.0  # seconds, and ten blocks' time: a subscription that is silent for longer may be dead


class Watcher:
    """`run` as a service; it ends only by cancellation, WrongNetwork, or an error of `deliver`.

    `start`: number and hash of the last block delivered before a restart, None to begin at the newest block.
    `stall`: seconds of silence after which a subscription is doubted at the latest. `overlap`: blocks before it that
    are delivered again. `close`: seconds between a block's announced logs that are delivered together. Every fact is
    delivered at least once, in order; after a reorganisation, blocks from the common ancestor on are delivered anew.
    Blocks without facts are skipped while catching up. `concerning` picks the facts that are delivered. `undo` is told
    of the block that the way back ended at, before anything above is delivered anew.
    `witness` hears of the newest facts and who told them.
    """

    def __init__(
        self,
        rpc: Feed,
        network: Network,
        deliver: Deliver,
        clock: Clock,
        start: tuple[int, Hash] | None,
        *,
        overlap: int = 32,
        chunk: int = 500,
        chunk_max: int = 5000,
        stall: float = 60.0,
        close: float = 0.001,
        pace: Pace | None = None,
        undo: Undo | None = None,
        witness: Witness | None = None,
        concerning: Concerning = lambda facts: facts,
        random: Callable[[], float] = _random.random,
    ) -> None:
        self._rpc = rpc
        self._deliver = deliver
        self._clock = clock
        self._start = start
        self._overlap = overlap
        self._stall = stall
        self._close = close
        self._pace = pace or Pace()
        self._witness = witness
        self._concerning = concerning
        self._random = random
        self._subscribable = rpc.pushes
        self._stream: NewsStream | None = None
        self._heads: deque[Json] = deque()
        self._heard = Overheard()
        self.decoder = Decoder(network.nexus, network.terminal)
        self._trail = Trail(rpc, undo)
        self._logbook = Logbook(rpc, network, clock)
        self._backlog = Backlog(
            rpc,
            self._trail,
            self._logbook,
            self.decoder,
            clock,
            tell=self._tell,
            hand_over=self._hand_over,
            concerning=concerning,
            chunk=chunk,
            chunk_max=chunk_max,
        )

    @property
    def reorganisations(self) -> int:
        return self._trail.reorganisations

    async def run(self) -> None:
        failures = 0
        while True:
            try:
                if self._start is not None and self._trail.last is None:
                    await self._trail.resume(*self._start, self._overlap)
                self._stream = await self._subscribe()
                await self._advance(await self._newest())
                failures = 0
                if self._stream is not None:
                    await self._follow(self._stream)
                await self._clock.sleep(self._pace.pause(self._clock.monotonic()))
            except WrongNetwork:
                raise
            except ChainError as err:
                pause = min(5.0, 0.1 * 2 ** min(failures, 8)) * (0.5 + self._random())
                failures += 1
                log.warning("chain_unread", code=err.code, reason=str(err)[:300], failures=failures, pause_s=pause)
                await self._clock.sleep(pause)

    async def _subscribe(self) -> NewsStream | None:
        """None: the newest block has to be asked for, because that is all the node offers, or all it offers now."""
        self._heads.clear()
        if not self._subscribable:
            return None
        try:
            return await self._rpc.subscribe(self._logbook.filter)
        except RpcUnavailable:
            return None
        except RpcRejected as err:
            log.warning("chain_subscription_refused", reason=str(err))
            self._subscribable = False
            return None

    async def _follow(self, stream: NewsStream) -> None:
        """Ends by raising, at the latest when the subscription is found dead. A quiet chain is asked more seldom."""
        patience = self._patience
        while True:
            if not self._heads:
                try:
                    async with asyncio.timeout(patience):
                        await self._listen(stream)
                    patience = self._patience
                except TimeoutError:
                    patience = min(self._stall, 2 * patience)
                    newest = decode.block(await self._newest())
                    if self._trail.last is None or newest.number > self._trail.last.number:
                        raise RpcUnavailable("the node stopped announcing blocks") from None
                    continue
            while self._heads:
                await self._advance(self._heads.popleft())
            for block in self._heard.late():
                await self._overheard(block)
            if self._heard.due():
                self._heard.vouch(self._rpc.seconded)
            if self._heard.due():
                await self._check()

    @property
    def _patience(self) -> float:
        return min(self._stall, max(_SILENT, 10 * self._pace.period))

    async def _listen(self, stream: NewsStream) -> None:
        news = await anext(stream)
        self._heads += news.heads
        self._heard.put(news.logs)

    async def _newest(self) -> Json:
        header: Json = await self._rpc.call("eth_getBlockByNumber", "latest", False)
        return header

    async def _advance(self, header: Json) -> None:
        """Deliver everything up to and including this block. Older news, and repeated news, is ignored."""
        head = decode.block(header)
        self._pace.heard(head, self._clock.monotonic())
        for _ in range(_CONFLICTS):
            last = self._trail.last
            if last is None:
                return await self._single(head, header)
            if head.number <= last.number:
                if self._trail.has(head):
                    return None
                await self._rewind(last)
            elif head.number > last.number + 1:
                await self._backlog.read(head.number - 1)
            elif head.parent_hash != last.hash:
                await self._rewind(last)
            else:
                return await self._single(head, header)
        raise RpcUnavailable(f"the node does not stick to one chain around block {head.number}")

    async def _rewind(self, last: Block) -> None:
        await self._trail.rewind(last)
        if self._trail.last is not None:
            self._heard.forget_above(self._trail.last.number)

    async def _single(self, head: Block, header: Json) -> None:
        """The newest block: by what was announced of it, or by asking where that falls short of its bloom."""
        promised, marked = self._logbook.promises(header), self._logbook.has_marks(header)
        if self._stream is not None and self._stream.tells_logs:
            if promised and not self._heard.has(head):
                await self._wait_for_logs(self._stream, head)
            if self._heard.has(head):
                await self._gather(self._stream, head)
            if self._heard.has(head) or not promised:
                self._heard.learn(promised=promised, there=self._heard.has(head), marked=marked)
                ruled_out = self._logbook.is_idle(header) or (self._heard.filled and not promised)
                return await self._overheard(head, ruled_out=ruled_out)
        logs, told_by = await self._logbook.of_block(head, header)
        self._heard.learn(promised=promised, there=bool(logs), marked=marked)
        return await self._tell(head, logs, told_by)

    async def _wait_for_logs(self, stream: NewsStream, head: Block) -> None:
        try:
            async with asyncio.timeout(_GRACE):
                while not self._heard.has(head):
                    await self._listen(stream)
        except (TimeoutError, RpcUnavailable):
            return

    async def _gather(self, stream: NewsStream, head: Block) -> None:
        """A block's logs are announced one by one: those that follow each other closely are delivered together."""
        before = 0
        try:
            while (count := self._heard.count(head)) > before:
                before = count
                async with asyncio.timeout(self._close):
                    await self._listen(stream)
        except (TimeoutError, RpcUnavailable):
            return

    async def _overheard(self, block: Block, *, ruled_out: bool = False) -> None:
        """Deliver what was announced of a block; again, where more of it came later."""
        told = self._heard.take(block, ruled_out=ruled_out)
        tellers = {one.by for one in told}
        newest = self._trail.last is None or block.number > self._trail.last.number
        if newest and not told:
            return await self._hand_over(block, [])
        for teller in sorted(tellers):
            logs = [one.log for one in told if one.by == teller]
            await self._tell(block, logs, teller, newest=newest)
        return None

    async def _check(self) -> None:
        """Hold what was announced against what a range says, and deliver what was missed."""
        span = self._heard.span()
        if span is None:
            return
        first, end = span
        answer, header = await self._rpc.batch([self._logbook.range_call(first, end.number), header_call(end.number)])
        if isinstance(answer, JsonRpcError) or header is None or blocks_of([header])[0].hash != end.hash:
            self._heard.settle(first)  # a node that lags, or limits its ranges: one block less is asked about
            return
        missed: dict[Block, list[Json]] = {}
        for one in as_logs(answer):
            if (block := self._heard.block_of(one)) is not None:
                missed.setdefault(block, []).append(one)
        for block, logs in missed.items():
            log.warning("chain_logs_not_announced", block=block.number, logs=len(logs))
            await self._tell(block, logs, "", newest=False)
        self._heard.settle(end.number)

    async def _tell(self, block: Block, logs: Sequence[Json], told_by: str, newest: bool = True) -> None:
        facts = self._concerning(self.decoder.facts(logs))
        await self._deliver(block, facts)
        if newest:
            self._trail.remember(block)
        if facts and self._witness is not None:
            self._witness.doubt(block, facts, told_by)

    async def _hand_over(self, block: Block, facts: Sequence[Fact]) -> None:
        await self._deliver(block, facts)
        self._trail.remember(block)
