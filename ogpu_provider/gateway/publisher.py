"""Publishes the configs of new orders; their transactions wait for it."""

import asyncio
from collections.abc import Callable

import structlog

from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.errors import PinError, StoreError
from ogpu_provider.domain.order import Order
from ogpu_provider.gateway.bell import Bell
from ogpu_provider.ipfs.pinners import OgpuPinner
from ogpu_provider.store.orders import GatewayStore

log = structlog.get_logger(__name__)
AT_ONCE = 8
BETWEEN_S = 5.0


class Publisher:
    """`published` hears that there are transactions to send."""

    def __init__(
        self, store: GatewayStore, pinner: OgpuPinner, clock: Clock, bell: Bell, published: Callable[[], None]
    ) -> None:
        self._store = store
        self._pinner = pinner
        self._clock = clock
        self._bell = bell
        self._published = published

    async def run(self) -> None:
        while True:
            heard = self._bell.heard
            found = await self._store.unpinned(limit=AT_ONCE)
            done = await asyncio.gather(*map(self._pin, found))
            if any(done):
                self._published()
            if len(found) < AT_ONCE or not all(done):
                await self._bell.wait(heard, BETWEEN_S)

    async def _pin(self, order: Order) -> bool:
        try:
            await self._pinner.pin("taskConfig.json", await self._store.config(order.id) or b"")
            await self._store.move(order, "pinned", at=self._clock.now(), pinned=True)
        except (PinError, StoreError) as error:  # one that ended meanwhile needs no pin
            log.warning("config_not_pinned", order=order.id, code=error.code)
            return False
        return True
