"""Follows the chain and delivers its facts, block by block, without a gap.

The newest block is announced by the node or asked for; each is read by its hash, so that a node that does not have it
cannot answer 'no logs'. What was missed is read by ranges whose ends the node has to show, except for the newest
blocks: behind one address there may be several nodes, and one that lags answers a range with what it has, so those
are read by their hashes too. Blocks hang together by their parents' hashes; where they do not, the watcher goes back
to the last block that is still on the chain, and says that everything above it is undone.
"""

import asyncio
import random as _random
from collections.abc import Awaitable, Callable, Sequence
from itertools import pairwise
from typing import Any, Protocol

import structlog

from ogpu_provider.chain import decode
from ogpu_provider.chain.decode import TOPICS, Bloom, Decoder, Json
from ogpu_provider.chain.feed import Feed
from ogpu_provider.chain.networks import Network
from ogpu_provider.chain.pace import Pace
from ogpu_provider.chain.socket import HeadStream
from ogpu_provider.chain.wire import Call, JsonRpcError
from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.errors import ChainError, RpcRejected, RpcUnavailable, WrongNetwork
from ogpu_provider.domain.facts import Block, Fact
from ogpu_provider.domain.units import Hash

log = structlog.get_logger(__name__)

Deliver = Callable[[Block, Sequence[Fact]], Awaitable[None]]
Undo = Callable[[Block], Awaitable[None]]


class Witness(Protocol):
    """Holds what one endpoint said against another."""

    def doubt(self, block: Block, facts: Sequence[Fact], told_by: str) -> None:
        """Take note of facts that were delivered. Returns at once."""
        ...


_REMEMBERED = 256  # delivered blocks whose hashes are kept, to find the way back after a reorganisation
_MANY_LOGS = 5000  # in one answer; more, and the next range is halved
_HEADERS = 100  # asked for in one round trip
_READ_PAUSES = (0.02, 0.05, 0.1, 0.2, 0.4)  # seconds; the node that answers may be behind the one that announced
_DOUBTS = 2  # how often an empty answer is doubted that the block's bloom contradicts
_NEAR = 16  # blocks below a head that a lagging node may not have, and that are not read by range
_CONFLICTS = 6  # rewinds while reading up to one head, before the node is called unavailable


class Watcher:
    """`run` as a service; it ends only by cancellation, WrongNetwork, or an error of `deliver`.

    `start`: number and hash of the last block delivered before a restart, None to begin at the newest block.
    `overlap`: blocks before it that are delivered again. Every fact is delivered at least once, in order; after
    a reorganisation, blocks from the common ancestor on are delivered anew. Blocks without facts are skipped while
    catching up. `relevant` drops facts before anything is spent on them. `undo` is told of the block that the way
    back ended at, before anything above it is delivered anew. `witness` hears of the newest facts and who told them.
    """

    def __init__(
        self,
        rpc: Feed,
        network: Network,
        deliver: Deliver,
        clock: Clock,
        start: tuple[int, Hash] | None,
        *,
        overlap: int = 8,
        chunk: int = 500,
        chunk_max: int = 5000,
        stall: float = 60.0,
        pace: Pace | None = None,
        undo: Undo | None = None,
        witness: Witness | None = None,
        relevant: Callable[[Fact], bool] = lambda _: True,
        random: Callable[[], float] = _random.random,
    ) -> None:
        self._rpc = rpc
        self._deliver = deliver
        self._clock = clock
        self._start = start
        self._overlap = overlap
        self._chunk = chunk
        self._chunk_max = chunk_max
        self._stall = stall
        self._pace = pace or Pace()
        self._undo = undo
        self._witness = witness
        self._relevant = relevant
        self._random = random
        self._filter = {"address": [network.nexus, network.terminal], "topics": [list(TOPICS)]}
        self._addresses = Bloom((network.nexus, network.terminal))
        self._topics = Bloom(TOPICS)
        self._last: Block | None = None
        self._recent: dict[int, Hash] = {}
        self._subscribable = rpc.pushes
        self.decoder = Decoder(network.nexus, network.terminal)
        self.reorganisations = 0

    async def run(self) -> None:
        failures = 0
        while True:
            try:
                if self._start is not None and self._last is None:
                    await self._resume(*self._start)
                stream = await self._subscribe()
                await self._advance(await self._newest())
                failures = 0
                if stream is not None:
                    await self._follow(stream)
                await self._clock.sleep(self._pace.pause(self._clock.monotonic()))
            except WrongNetwork:
                raise
            except ChainError as err:
                pause = min(5.0, 0.1 * 2 ** min(failures, 8)) * (0.5 + self._random())
                failures += 1
                log.warning("chain_unread", code=err.code, reason=str(err)[:300], failures=failures, pause_s=pause)
                await self._clock.sleep(pause)

    async def _subscribe(self) -> HeadStream | None:
        """None: the newest block has to be asked for, because that is all the node offers, or all it offers now."""
        if not self._subscribable:
            return None
        try:
            return await self._rpc.subscribe_heads()
        except RpcUnavailable:
            return None
        except RpcRejected as err:
            log.warning("chain_subscription_refused", reason=str(err))
            self._subscribable = False
            return None

    async def _follow(self, stream: HeadStream) -> None:
        """Ends by raising, at the latest when the subscription is found dead."""
        while True:
            try:
                async with asyncio.timeout(self._stall):
                    header = await anext(stream)
            except TimeoutError:
                newest = decode.block(await self._newest())
                if self._last is None or newest.number > self._last.number:
                    raise RpcUnavailable("the node stopped announcing blocks") from None
                continue
            await self._advance(header)

    async def _newest(self) -> Json:
        header: Json = await self._rpc.call("eth_getBlockByNumber", "latest", False)
        return header

    async def _advance(self, header: Json) -> None:
        """Deliver everything up to and including this block. Older news, and repeated news, is ignored."""
        head = decode.block(header)
        self._pace.heard(head, self._clock.monotonic())
        for _ in range(_CONFLICTS):
            last = self._last
            if last is None:
                return await self._single(head, header)
            if head.number <= last.number:
                if self._recent.get(head.number, head.hash) == head.hash:
                    return None
                await self._rewind(last)
            elif head.number > last.number + 1:
                await self._fill(head.number - 1)
            elif head.parent_hash != last.hash:
                await self._rewind(last)
            else:
                return await self._single(head, header)
        raise RpcUnavailable(f"the node does not stick to one chain around block {head.number}")

    async def _single(self, head: Block, header: Json) -> None:
        logs, told_by = await self._logs_of(head, header)
        await self._tell(head, logs, told_by)

    async def _tell(self, block: Block, logs: list[Json], told_by: str) -> None:
        facts = [fact for fact in self.decoder.facts(logs) if self._relevant(fact)]
        await self._hand_over(block, facts)
        if facts and self._witness is not None:
            self._witness.doubt(block, facts, told_by)

    async def _logs_of(self, head: Block, header: Json) -> tuple[list[Json], str]:
        """The logs of one block, by its hash, and who told. Raises RpcUnavailable when no node has it even now."""
        promised = self._promises(header)
        refusal: Exception | None = None
        for tried, pause in enumerate((*_READ_PAUSES, 0.0)):
            [answer], told_by = await self._rpc.attributed([self._logs_call(head)])
            if isinstance(answer, JsonRpcError):
                refusal = answer
            else:
                logs = _of_block(head, answer)
                if logs or not promised:
                    return logs, told_by
                if tried >= _DOUBTS:
                    return await self._elsewhere(head, told_by)
            await self._clock.sleep(pause)
        raise RpcUnavailable(f"the node has no logs of block {head.number}: {refusal}") from refusal

    async def _elsewhere(self, head: Block, told_by: str) -> tuple[list[Json], str]:
        """The logs that one endpoint gives although another has none; whose word that is stays in question."""
        answers = await self._rpc.elsewhere([self._logs_call(head)], told_by)
        if not answers or isinstance(answers[0], JsonRpcError):
            return [], told_by
        return _of_block(head, answers[0]), ""

    def _logs_call(self, block: Block) -> Call:
        return "eth_getLogs", ({"blockHash": block.hash, **self._filter},)

    def _promises(self, header: Json) -> bool:
        """Whether the block's bloom says that there should be logs for us; it may err, though seldom."""
        bloom = header.get("logsBloom")
        return self._addresses.may_hold(bloom) and self._topics.may_hold(bloom)

    def _withheld(self, headers: Sequence[Any], logs: list[Json]) -> bool:
        told = {str(one.get("blockHash")).lower() for one in logs}
        return any(self._promises(one) and decode.block(one).hash not in told for one in headers)

    async def _fill(self, target: int) -> None:
        """Deliver what lies between the last block and `target`, inclusive; returns early after a rewind."""
        doubts = 0
        while (last := self._last) is not None and last.number < target:
            if target - last.number <= _NEAR:
                return await self._walk(last, target)
            first, end = last.number + 1, min(target - _NEAR, last.number + self._chunk)
            span = {"fromBlock": hex(first), "toBlock": hex(end), **self._filter}
            try:
                logs, *ends = await self._rpc.batch([("eth_getLogs", (span,)), _header(first), _header(end)])
            except RpcUnavailable:
                self._chunk = max(1, self._chunk // 2)
                raise
            if isinstance(logs, JsonRpcError):
                if self._chunk == 1:
                    raise logs
                self._chunk = max(1, (end - first + 1) // 2)
                log.info("chain_range_refused", blocks=end - first + 1, reason=str(logs), next=self._chunk)
                continue
            begin, final = _blocks(ends)
            if begin.parent_hash != last.hash:
                return await self._rewind(last)
            if doubts < _DOUBTS and self._withheld(ends, _list(logs)):
                await self._clock.sleep(_READ_PAUSES[doubts])
                doubts += 1
                continue
            doubts = 0
            await self._hand_over_range(_list(logs), {first: begin, end: final}, final)
            many = len(logs) > _MANY_LOGS
            self._chunk = max(1, self._chunk // 2) if many else min(self._chunk_max, self._chunk * 2)
        return None

    async def _walk(self, last: Block, target: int) -> None:
        """Like `_fill` for the newest blocks: each by its hash, in two round trips."""
        headers: list[Any] = await self._rpc.batch([_header(number) for number in range(last.number + 1, target + 1)])
        blocks = _blocks(headers)
        if blocks[0].parent_hash != last.hash:
            await self._rewind(last)
            return
        if any(child.parent_hash != block.hash for block, child in pairwise(blocks)):
            raise RpcUnavailable("the chain changed while it was being read")
        answers, told_by = await self._rpc.attributed([self._logs_call(block) for block in blocks])
        for block, header, answer in zip(blocks, headers, answers, strict=True):
            logs, teller = [] if isinstance(answer, JsonRpcError) else _of_block(block, answer), told_by
            if isinstance(answer, JsonRpcError) or (not logs and self._promises(header)):
                logs, teller = await self._logs_of(block, header)
            if logs or block is blocks[-1]:
                await self._tell(block, logs, teller)
            else:
                self._remember(block)

    async def _hand_over_range(self, logs: list[Json], blocks: dict[int, Block], final: Block) -> None:
        by_block: dict[int, list[Fact]] = {final.number: []}
        for fact in self.decoder.facts(logs):
            if self._relevant(fact):
                by_block.setdefault(fact.origin.block_number, []).append(fact)
        missing = [number for number in by_block if number not in blocks]
        for start in range(0, len(missing), _HEADERS):
            some = missing[start : start + _HEADERS]
            blocks |= zip(some, _blocks(await self._rpc.batch([_header(number) for number in some])), strict=True)
        if any(fact.origin.block_hash != blocks[number].hash for number, facts in by_block.items() for fact in facts):
            raise RpcUnavailable("the chain changed while it was being read")
        for number in sorted(by_block):
            await self._hand_over(blocks[number], by_block[number])

    async def _hand_over(self, block: Block, facts: list[Fact]) -> None:
        await self._deliver(block, facts)
        self._remember(block)

    def _remember(self, block: Block) -> None:
        self._last = block
        self._recent[block.number] = block.hash
        while len(self._recent) > _REMEMBERED:
            del self._recent[next(iter(self._recent))]

    async def _rewind(self, last: Block) -> None:
        """Make the newest delivered block that is still on the chain the last one."""
        known = sorted(self._recent, reverse=True)
        replaced = False
        for start in range(0, len(known), 16):
            some = known[start : start + 16]
            headers = await self._rpc.batch([_header(number) for number in some])
            for number, header in zip(some, headers, strict=True):
                if isinstance(header, JsonRpcError):
                    raise header
                if header is None:
                    continue  # a shorter chain, or a node that is behind
                block = decode.block(header)
                if block.hash != self._recent[number]:
                    replaced = True
                    continue
                if not replaced:
                    raise RpcUnavailable(f"the node has no other block above {number}, and not ours either")
                await self._back_to(block, last.number - number)
                return
        await self._restart_below(last.number)

    async def _back_to(self, block: Block, depth: int) -> None:
        self.reorganisations += 1
        log.error("chain_reorganised", depth=depth, ancestor=block.number)
        if self._undo is not None:
            await self._undo(block)
        self._recent = {number: name for number, name in self._recent.items() if number < block.number}
        self._remember(block)

    async def _restart_below(self, number: int) -> None:
        """Nothing that we remember is on the chain any more: go back as far as we would remember."""
        floor = max(0, number - _REMEMBERED)
        [block] = _blocks([await self._rpc.call(*_flat(_header(floor)))])
        self._recent.clear()
        await self._back_to(block, number - floor)

    async def _resume(self, number: int, known: Hash) -> None:
        """Take up the thread at the cursor of an earlier run."""
        there, before = _blocks(await self._rpc.batch([_header(number), _header(max(0, number - self._overlap))]))
        if there.hash == known:
            self._remember(before)
            log.info("chain_resumed", cursor=number, first=before.number + 1)
        else:
            await self._restart_below(number)


def _header(number: int) -> Call:
    return "eth_getBlockByNumber", (hex(number), False)


def _flat(call: Call) -> tuple[Any, ...]:
    return (call[0], *call[1])


def _blocks(headers: Sequence[Any | JsonRpcError]) -> list[Block]:
    """Raises RpcUnavailable if the node does not have one of them."""
    for header in headers:
        if isinstance(header, JsonRpcError):
            raise header
        if header is None:
            raise RpcUnavailable("the node does not have the block yet")
    return [decode.block(header) for header in headers]


def _of_block(block: Block, answer: object) -> list[Json]:
    logs = _list(answer)
    if any(str(one.get("blockHash")).lower() != block.hash for one in logs):
        raise RpcUnavailable(f"asked for the logs of block {block.number}, the node gave those of another")
    return logs


def _list(logs: object) -> list[Json]:
    if not isinstance(logs, list) or not all(isinstance(one, dict) for one in logs):
        raise RpcUnavailable("eth_getLogs: the answer is not a list of logs")
    return logs
