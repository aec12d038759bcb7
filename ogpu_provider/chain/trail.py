"""The newest blocks that were delivered, and the way back along them where they are no longer on the chain."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import structlog

from ogpu_provider.chain import decode
from ogpu_provider.chain.feed import Feed
from ogpu_provider.chain.wire import Call, JsonRpcError
from ogpu_provider.domain.errors import RpcUnavailable
from ogpu_provider.domain.facts import Block
from ogpu_provider.domain.units import Hash

log = structlog.get_logger(__name__)

Undo = Callable[[Block], Awaitable[None]]

_REMEMBERED = 256  # delivered blocks whose hashes are kept
_STEP = 16  # of them are compared with the chain in one round trip


def header_call(number: int) -> Call:
    return "eth_getBlockByNumber", (hex(number), False)


def blocks_of(headers: Sequence[Any | JsonRpcError]) -> list[Block]:
    """Raises RpcUnavailable if the node does not have one of them."""
    for header in headers:
        if isinstance(header, JsonRpcError):
            raise header
        if header is None:
            raise RpcUnavailable("the node does not have the block yet")
    return [decode.block(header) for header in headers]


class Trail:
    """`last` is the newest delivered block. `undo` is told of the block that a way back ended at.

    Every method that asks the chain may raise RpcUnavailable.
    """

    def __init__(self, feed: Feed, undo: Undo | None) -> None:
        self._feed = feed
        self._undo = undo
        self._hashes: dict[int, Hash] = {}
        self.last: Block | None = None
        self.reorganisations = 0

    def remember(self, block: Block) -> None:
        """It was delivered, and is the newest now."""
        self.last = block
        self._hashes[block.number] = block.hash
        while len(self._hashes) > _REMEMBERED:
            del self._hashes[next(iter(self._hashes))]

    def has(self, block: Block) -> bool:
        """Whether it was delivered, as far as that is remembered: what lies further back is taken to be."""
        return self._hashes.get(block.number, block.hash) == block.hash

    async def rewind(self, last: Block) -> None:
        """Make the newest delivered block that is still on the chain the last one."""
        known = sorted(self._hashes, reverse=True)
        replaced = False
        for start in range(0, len(known), _STEP):
            some = known[start : start + _STEP]
            headers = await self._feed.batch([header_call(number) for number in some])
            for number, header in zip(some, headers, strict=True):
                if isinstance(header, JsonRpcError):
                    raise header
                if header is None:
                    continue  # a shorter chain, or a node that is behind
                block = decode.block(header)
                if block.hash != self._hashes[number]:
                    replaced = True
                    continue
                if not replaced:
                    raise RpcUnavailable(f"the node has no other block above {number}, and not ours either")
                await self._back_to(block, last.number - number)
                return
        await self._restart_below(last.number)

    async def resume(self, number: int, known: Hash, overlap: int) -> None:
        """Take up the thread at the cursor of an earlier run, `overlap` blocks below it."""
        calls = [header_call(number), header_call(max(0, number - overlap))]
        there, before = blocks_of(await self._feed.batch(calls))
        if there.hash == known:
            self.remember(before)
            log.info("chain_resumed", cursor=number, first=before.number + 1)
        else:
            await self._restart_below(number)

    async def _back_to(self, block: Block, depth: int) -> None:
        self.reorganisations += 1
        log.error("chain_reorganised", depth=depth, ancestor=block.number)
        if self._undo is not None:
            await self._undo(block)
        self._hashes = {number: name for number, name in self._hashes.items() if number < block.number}
        self.remember(block)

    async def _restart_below(self, number: int) -> None:
        """Nothing that we remember is on the chain any more: go back as far as we would remember."""
        floor = max(0, number - _REMEMBERED)
        [block] = blocks_of(await self._feed.batch([header_call(floor)]))
        self._hashes.clear()
        await self._back_to(block, number - floor)
