"""Reads the ends of orders from the chain a second time: once they are deep, and where blocks below them were undone.

An order is COMPLETED, CANCELLED or FAILED as soon as the newest block says so; webhooks tell it at once. So an end may
be undone, and then the order goes on from what is left. It is told as that, since nothing that was told is taken back.
"""

from collections.abc import Awaitable, Callable

import structlog

from ogpu_provider.domain.facts import Block
from ogpu_provider.domain.order import Order
from ogpu_provider.domain.together import together
from ogpu_provider.gateway.follower import TOGETHER
from ogpu_provider.store.orders import GatewayStore

log = structlog.get_logger(__name__)


class Endings:
    """`depth`: blocks on top of the one that an end was read at before it is read again. `look`: the follower's."""

    def __init__(self, store: GatewayStore, look: Callable[[Order], Awaitable[int | None]], depth: int) -> None:
        self._store = store
        self._look = look
        self._depth = depth

    async def undo(self, block: Block) -> None:
        """Everything above this block is undone: durable before what took its place is delivered. Raises StoreError."""
        doubted = await self._store.doubt_ends(block.number)
        if doubted:
            log.warning("orders_doubted", above=block.number, orders=doubted)

    async def check(self, head: Block, *, restless: bool = False) -> None:
        """Read again what is deep enough below the head; while blocks are being undone, whatever is not settled yet.

        Raises StoreError.
        """
        position, deep = 0, head.number - self._depth
        while True:
            found = await self._store.unsettled_ends(head.number if restless else deep, position, limit=TOGETHER)
            await together(self._check(order, was, deep) for _, order, was in found)
            if len(found) < TOGETHER:
                return
            position = found[-1][0]

    async def _check(self, order: Order, was: int, deep: int) -> None:
        height = await self._look(order)
        if height is not None and was <= deep:
            await self._store.settle_end(order.id, was=was, height=height)
