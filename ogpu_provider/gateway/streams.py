"""An order's steps as they happen: server-sent events, and requests that wait for the end."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncGenerator

from ogpu_provider.domain.order import Order, OrderEvent
from ogpu_provider.gateway.bell import Bell
from ogpu_provider.gateway.documents import event_document
from ogpu_provider.gateway.problems import Problem
from ogpu_provider.store.orders import GatewayStore

BEAT_S = 15.0
"""Between comments that keep proxies from cutting a quiet stream."""
PER_KEY = 10
LONGEST_S = 3600.0
"""A stream ends after this; a browser comes back with Last-Event-ID and misses nothing."""


class Streams:
    def __init__(
        self, store: GatewayStore, bell: Bell, *, beat_s: float = BEAT_S, longest_s: float = LONGEST_S
    ) -> None:
        self._store = store
        self._bell = bell
        self._beat_s = beat_s
        self._longest_s = longest_s
        self._open: Counter[str] = Counter()

    def open(self, owner: str, order: str | None, after: int) -> AsyncGenerator[bytes]:
        """The owner's events behind position `after`, or one order's until it is over. Raises Problem 429."""
        if self._open[owner] >= PER_KEY:
            raise Problem(429, "rate.streams", f"{PER_KEY} streams at once", {"Retry-After": "10"})
        return self._lines(owner, order, after)

    async def wait(self, order: Order, seconds: float) -> Order:
        """The order once it is over, or as it is after `seconds`."""
        end = asyncio.get_running_loop().time() + seconds
        while not order.state.over and (left := end - asyncio.get_running_loop().time()) > 0:
            heard = self._bell.heard
            order = await self._store.order(order.id) or order
            if not order.state.over:
                await self._bell.wait(heard, left)
        return order

    async def _lines(self, owner: str, order: str | None, after: int) -> AsyncGenerator[bytes]:
        self._open[owner] += 1
        end = asyncio.get_running_loop().time() + self._longest_s
        try:
            yield b": events of an order's life; id is for Last-Event-ID\n\n"
            while asyncio.get_running_loop().time() < end:
                heard = self._bell.heard
                last = order is not None and await self._over(order)  # asked first: no line comes after the one read
                for event in await self._store.events(after, owner=owner, order=order):
                    after = event.seq
                    yield _line(event)
                if last:
                    return
                await self._bell.wait(heard, self._beat_s)
                if self._bell.heard == heard:
                    yield b": still here\n\n"
        finally:
            self._open[owner] -= 1

    async def _over(self, order_id: str) -> bool:
        order = await self._store.order(order_id)
        return order is None or order.state.over


def _line(event: OrderEvent) -> bytes:
    body = json.dumps({"task_id": event.order, **event_document(event)}, separators=(",", ":"))
    return f"id: {event.seq}\nevent: {event.kind}\ndata: {body}\n\n".encode()
