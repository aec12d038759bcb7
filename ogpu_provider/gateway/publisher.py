"""Publishes the configs of new orders; their transactions wait for it."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.errors import PinError, Retry, StoreError
from ogpu_provider.domain.order import Order
from ogpu_provider.gateway.asks import SPARE
from ogpu_provider.gateway.bell import Bell
from ogpu_provider.ipfs.pinners import OgpuPinner
from ogpu_provider.store.orders import GatewayStore

log = structlog.get_logger(__name__)
AT_ONCE = 16
BETWEEN_S = 5.0
"""Seconds until one that could not be pinned is tried again."""


class Publisher:
    """`published` hears that there are transactions to send, `give_up` of an order that cannot be pinned in time."""

    def __init__(
        self,
        store: GatewayStore,
        pinner: OgpuPinner,
        clock: Clock,
        bell: Bell,
        published: Callable[[], None],
        give_up: Callable[[Order, str], Awaitable[None]],
    ) -> None:
        self._store = store
        self._pinner = pinner
        self._clock = clock
        self._bell = bell
        self._published = published
        self._give_up = give_up
        self._busy: set[str] = set()

    async def run(self) -> None:
        """Until canceled. The oldest first, AT_ONCE at a time; one that fails holds its place until it is tried again,
        so that a service which is down is asked no more than that."""
        async with asyncio.TaskGroup() as group:
            while True:
                heard = self._bell.heard
                if len(self._busy) < AT_ONCE:
                    for order in await self._store.unpinned(limit=AT_ONCE):
                        if order.id not in self._busy and len(self._busy) < AT_ONCE:
                            self._busy.add(order.id)
                            group.create_task(self._publish(order))
                await self._bell.wait(heard, BETWEEN_S)

    async def _publish(self, order: Order) -> None:
        try:
            await self._pin(order)
        finally:
            self._busy.discard(order.id)
            self._bell.ring()

    async def _pin(self, order: Order) -> None:
        try:
            if self._clock.now() > order.expiry - SPARE:
                return await self._give_up(order, "its config was not pinned in time")
            await self._pinner.pin("taskConfig.json", await self._store.config(order.id) or b"")
            await self._store.move(order, "pinned", at=self._clock.now(), pinned=True)
        except (PinError, StoreError) as error:  # one that ended meanwhile needs no pin
            log.warning("config_not_pinned", order=order.id, code=error.code)
            if isinstance(error, PinError) and error.retry is Retry.NEVER:
                return await self._give_up(order, str(error))
            await self._clock.sleep(BETWEEN_S)
        else:
            self._published()
