"""Takes orders: checks what is asked for and what it costs, and makes it durable before it is answered."""

import hashlib
import json
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

from ogpu_provider.chain import contracts
from ogpu_provider.chain.networks import Network
from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.errors import StoreError
from ogpu_provider.domain.intent import Effect, Intent
from ogpu_provider.domain.order import ApiKey, Order, OrderState
from ogpu_provider.domain.units import Address, Wei, coin
from ogpu_provider.gateway.access import TIERS
from ogpu_provider.gateway.documents import NewTask
from ogpu_provider.gateway.problems import Problem
from ogpu_provider.ipfs.cid import cid_v0
from ogpu_provider.store.orders import GatewayStore

HOUR = 3600.0
SPARE = 60
"""Seconds that a task has beside its execution time: to be published, attempted and answered."""


class Desk:
    """`balance` tells what the client has in the Vault, in wei; `woken` hears that there is something to publish."""

    def __init__(
        self,
        store: GatewayStore,
        network: Network,
        clock: Clock,
        balance: Callable[[], Awaitable[Wei]],
        woken: Callable[[], None],
    ) -> None:
        self._store = store
        self._network = network
        self._clock = clock
        self._balance = balance
        self._woken = woken
        self._reserved: dict[str, Wei] = {}

    async def restore(self) -> None:
        """Payments of orders that are not on chain yet count as spent."""
        self._reserved = {one.id: one.payment for one in await self._store.live() if one.address is None}

    def release(self, order: Order) -> None:
        """The order's payment is in escrow, or will never be."""
        self._reserved.pop(order.id, None)

    async def create(self, key: ApiKey, wanted: NewTask, once: str | None) -> Order:
        """Raises Problem 402, 404, 429, and ProviderError as `problem_of` tells it."""
        model = await self._store.model(wanted.model_id)
        if model is None:
            raise Problem(404, "model.unknown", "no such model; GET /api/models lists them")
        await self._check_rate(key)
        order, config = self._written(key, wanted, model.source, model.function, model.price)
        mark = (once, _fingerprint(wanted)) if once else None
        await self._reserve(order)
        try:
            made = await self._store.create(order, config, self._publication(order), budget=key.day_budget, once=mark)
        except StoreError:
            self.release(order)
            raise
        if made.id != order.id:
            self.release(order)
        self._woken()
        return made

    async def cancel(self, order: Order) -> Order:
        """Plan the cancellation; it holds once the chain says so. Raises Problem 409."""
        if order.state is not OrderState.CREATED or order.address is None:
            raise Problem(409, "task.not_cancellable", f"only a published task nobody attempted; it is {order.state}")
        intent = self._intent(Effect.CANCEL_TASK, order.id, order.address)
        moved = await self._store.move(order, "cancel_requested", at=self._clock.now(), intent=intent)
        self._woken()
        return moved

    async def confirm(self, order: Order) -> Order:
        """Accept the response of a manual-confirmation task. Raises Problem 409."""
        if order.response is None or order.state.over:
            raise Problem(409, "task.not_confirmable", "there is no response that waits for a confirmation")
        intent = self._intent(Effect.CONFIRM_RESPONSE, order.id, order.response)
        moved = await self._store.move(order, "confirm_requested", at=self._clock.now(), intent=intent)
        self._woken()
        return moved

    async def _check_rate(self, key: ApiKey) -> None:
        tier = TIERS[key.tier]
        made, live = await self._store.usage(key.id, since=self._clock.now() - HOUR)
        if made >= tier.hourly:
            headers = {"Retry-After": "60", "RateLimit-Policy": f'"tasks";q={tier.hourly};w=3600'}
            raise Problem(429, "rate.tasks", f"{tier.hourly} tasks an hour", headers)
        if live >= tier.concurrent:
            raise Problem(429, "rate.concurrent", f"{tier.concurrent} tasks at once", {"Retry-After": "10"})

    async def _reserve(self, order: Order) -> None:
        balance = await self._balance()
        if sum(self._reserved.values()) + order.payment > balance:
            raise Problem(402, "payment.balance", f"the gateway's Vault balance does not cover {coin(order.payment)}")
        self._reserved[order.id] = order.payment

    def _written(self, key: ApiKey, wanted: NewTask, source: Address, function: str, price: Wei) -> tuple[Order, bytes]:
        """The order and its config document, which its id makes unlike any other: it can be found on chain by it."""
        now, order_id, needs = self._clock.now(), "task_" + secrets.token_hex(12), wanted.compute_requirements
        config = {"function_name": function, "data": wanted.input_data, "request_id": order_id}
        body = json.dumps(config, ensure_ascii=False, separators=(",", ":")).encode()
        order = Order(
            id=order_id,
            owner=key.id,
            model_id=wanted.model_id,
            source=source,
            state=OrderState.CREATED,
            payment=price,
            expiry=int(now) + needs.max_execution_time + SPARE,
            max_seconds=needs.max_execution_time,
            gpu_memory=needs.gpu_memory,
            config_url=link(self._network.gateway_url, cid_v0(body)),
            created_at=now,
            updated_at=now,
        )
        return order, body

    def _publication(self, order: Order) -> Intent:
        what = contracts.publish_task(
            self._network.controller, order.source, order.config_url, order.expiry, order.payment
        )
        key = f"{self._network.chain_id}:{Effect.PUBLISH_TASK}:{order.id}"
        return Intent(key, Effect.PUBLISH_TASK, order.source, what.to, what.data, float(order.expiry - SPARE))

    def _intent(self, effect: Effect, order_id: str, subject: Address) -> Intent:
        make = contracts.cancel_task if effect is Effect.CANCEL_TASK else contracts.confirm_response
        what = make(self._network.controller, subject)
        return Intent(f"{self._network.chain_id}:{effect}:{order_id}", effect, subject, what.to, what.data)


def link(gateway_url: str, cid: str) -> str:
    """Where the gateway serves a CID, whether its URL is given with or without /ipfs/."""
    return gateway_url.rstrip("/").removesuffix("/ipfs") + "/ipfs/" + cid


def _fingerprint(wanted: Any) -> str:
    return hashlib.sha256(json.dumps(wanted.model_dump(), sort_keys=True).encode()).hexdigest()
