"""What the routes work with."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import Depends, Request, Response

from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.order import ApiKey, Order
from ogpu_provider.gateway import problems
from ogpu_provider.gateway.access import Guard
from ogpu_provider.gateway.asks import Asks
from ogpu_provider.gateway.desk import Desk
from ogpu_provider.gateway.documents import Shown, whole_task
from ogpu_provider.gateway.local import LocalProvider
from ogpu_provider.gateway.metrics import Metrics
from ogpu_provider.gateway.problems import Problem
from ogpu_provider.gateway.rates import Rates
from ogpu_provider.gateway.signin import SignIn
from ogpu_provider.gateway.streams import Streams
from ogpu_provider.store.order_reader import WholeOrder
from ogpu_provider.store.orders import GatewayStore


@dataclass(frozen=True, slots=True)
class Api:
    store: GatewayStore
    desk: Desk
    asks: Asks
    streams: Streams
    local: LocalProvider
    rates: Rates
    signin: SignIn
    metrics: Metrics
    clock: Clock
    currency: str
    secure: bool
    """Whether people come by https, so that cookies are for that only."""

    def key(self, scope: str) -> Any:
        """A route's parameter: the key that asks, which has `scope`. Counted as a request."""
        guard = Guard(self.store, self.clock, scope)

        async def counted(request: Request) -> ApiKey:
            found = await guard(request)
            await self.rates.request(found.id)
            return found

        return Depends(counted)

    async def own(self, key: ApiKey, task_id: str) -> Order:
        """Raises Problem 404, also for what belongs to another key."""
        order = await self.store.order(task_id, owner=key.id)
        if order is None:
            raise Problem(404, "task.unknown", "no such task")
        return order

    async def whole(self, key: ApiKey, task_id: str) -> WholeOrder:
        """As `own`, with everything that there is to know of it."""
        found = await self.store.whole(task_id, key.id, self.asks.effects(task_id))
        if found is None:
            raise Problem(404, "task.unknown", "no such task")
        return found

    async def shown(self, key: ApiKey, task_id: str) -> Shown:
        """As `whole`, as the key's owner reads it."""
        found = await self.whole(key, task_id)
        return whole_task(found, self.currency, await self.printed(found.order))

    async def printed(self, order: Order) -> list[str] | None:
        """What the containers of the local provider printed for it; None where it did not run it."""
        return await self.local.logs(order.address) if order.address else None


def answered(document: Shown, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A body of ours as it is: the framework would check and copy it first."""
    body = json.dumps(document, separators=(",", ":")).encode()
    return Response(body, status, headers, "application/json")


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """How a route documents what it may refuse with."""
    every = (400, 401, 403, 413, 422, 429, 500, 503, *statuses)
    return {
        status: {
            "description": problems.MEANINGS[status],
            "content": {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in every
    }
