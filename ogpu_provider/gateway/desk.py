"""Takes orders: checks what is asked for and what it costs, and makes it durable before it is answered."""

import hashlib
import json
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ogpu_provider.chain import contracts
from ogpu_provider.chain.networks import Network
from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.errors import FetchError, StoreError
from ogpu_provider.domain.intent import Effect, Intent, IntentState
from ogpu_provider.domain.order import ApiKey, Model, Order, OrderState, Quota
from ogpu_provider.domain.units import Address, Wei, coin
from ogpu_provider.gateway.access import TIERS
from ogpu_provider.gateway.documents import NewTask
from ogpu_provider.gateway.problems import Problem
from ogpu_provider.gateway.rates import HOUR_S, told
from ogpu_provider.ipfs.cid import cid_v0
from ogpu_provider.store.orders import GatewayStore

SPARE = 60
"""Seconds that a task has beside its execution time: to be published, attempted and answered."""
_EFFECTS = (Effect.PUBLISH_TASK, Effect.CANCEL_TASK, Effect.CONFIRM_RESPONSE)


class Desk:
    """`balance` tells what the client has in the Vault, in wei; `woken` hears that there is a transaction to send.

    `vet` raises FetchError for a callback URL that leads where nobody may be told to post. `chain_time`, in unix
    seconds, is what expiries are held against.
    """

    def __init__(
        self,
        store: GatewayStore,
        network: Network,
        clock: Clock,
        balance: Callable[[], Awaitable[Wei]],
        woken: Callable[[], None],
        vet: Callable[[str], Awaitable[None]],
        chain_time: Callable[[], float],
        tiers: Mapping[str, Quota] = TIERS,
    ) -> None:
        self._store = store
        self._network = network
        self._clock = clock
        self._balance = balance
        self._woken = woken
        self._vet = vet
        self._chain_time = chain_time
        self._tiers = tiers
        self._reserved: dict[str, Wei] = {}
        self._reserved_sum: Wei = 0

    async def restore(self) -> None:
        """Payments of orders that are not on chain yet count as spent."""
        self._reserved = {one.id: one.payment for one in await self._store.live() if one.address is None}
        self._reserved_sum = sum(self._reserved.values())

    def release(self, order: Order) -> None:
        """The order's payment is in escrow, or will never be."""
        self._reserved_sum -= self._reserved.pop(order.id, 0)

    def quota(self, key: ApiKey) -> Quota:
        """Of the key's tier; of the smallest one where the settings have its tier no more."""
        return self._tiers.get(key.tier) or TIERS["standard"]

    async def allowance(self, key: ApiKey) -> dict[str, str]:
        """The RateLimit headers of what the key may order within this hour."""
        now, most = self._clock.now(), self.quota(key).hourly
        made, first = await self._store.usage(key.id, since=now - HOUR_S)
        return told("tasks", most, most - made, HOUR_S, max(1, round(first + HOUR_S - now)) if made else HOUR_S)

    async def create(self, key: ApiKey, wanted: NewTask, once: str | None) -> Order:
        """Raises Problem 402, 404, 422, 429, and ProviderError as `problem_of` tells it.

        `once`: what was asked under it before is answered as it was then, whatever has changed since.
        """
        mark = (once, _fingerprint(wanted)) if once else None
        if mark and (first := await self._store.first(key.id, *mark)):
            return first
        model = await self._store.model(wanted.model_id)
        if model is None:
            raise Problem(404, "model.unknown", "no such model; GET /api/models lists them")
        await self._check_callback(wanted.callback_url)
        order, config = self._written(key, wanted, model)
        await self._reserve(order)
        made = None
        try:
            made = await self._store.create(
                order, config, self._publication(order), budget=key.day_budget, quota=self.quota(key), once=mark
            )
        except StoreError as error:
            if error.code not in ("gateway.hourly", "gateway.concurrent"):
                raise
            raise await self._too_many(key, error) from error
        finally:
            if made is None or made.id != order.id:
                self.release(order)
        return made

    async def cancel(self, order: Order) -> Order:
        """Plan the cancellation; it holds once the chain says so. Raises Problem 409."""
        if order.state is not OrderState.CREATED or order.address is None:
            raise Problem(409, "task.not_cancellable", f"only a published task nobody attempted; it is {order.state}")
        return await self._ask(order, "cancel_requested", self._intent(Effect.CANCEL_TASK, order.id, order.address))

    async def confirm(self, order: Order) -> Order:
        """Accept the response of a manual-confirmation task. Raises Problem 409."""
        if order.response is None or order.state.over:
            raise Problem(409, "task.not_confirmable", "there is no response that waits for a confirmation")
        return await self._ask(
            order, "confirm_requested", self._intent(Effect.CONFIRM_RESPONSE, order.id, order.response)
        )

    async def _ask(self, order: Order, kind: str, intent: Intent) -> Order:
        """Once: what was asked of the chain before is not asked again. Raises Problem 409 where it said no."""
        asked = await self._store.intent(intent.key)
        if asked is not None and not asked.state.open and asked.state is not IntentState.CONFIRMED:
            raise Problem(409, "task.refused_by_chain", f"the chain has refused it: its transaction is {asked.state}")
        if asked is not None:
            return order
        moved = await self._store.move(order, kind, at=self._clock.now(), intent=intent)
        self._woken()
        return moved

    def effects(self, order_id: str) -> list[str]:
        """Keys of what may be sent to the chain for an order, in the order of its life."""
        return [self._key(effect, order_id) for effect in _EFFECTS]

    async def _too_many(self, key: ApiKey, error: StoreError) -> Problem:
        if error.code == "gateway.hourly":
            return Problem(429, "rate.tasks", str(error), await self.allowance(key))
        return Problem(429, "rate.concurrent", str(error), {"Retry-After": "10"})

    async def _check_callback(self, url: str | None) -> None:
        try:
            if url is not None:
                await self._vet(url)
        except FetchError as error:
            raise Problem(422, "callback.refused", f"callback_url: {error}") from error

    async def _reserve(self, order: Order) -> None:
        balance = await self._balance()
        if self._reserved_sum + order.payment > balance:
            raise Problem(402, "payment.balance", f"the gateway's Vault balance does not cover {coin(order.payment)}")
        self._reserved[order.id] = order.payment
        self._reserved_sum += order.payment

    def _written(self, key: ApiKey, wanted: NewTask, model: Model) -> tuple[Order, bytes]:
        """The order and its config document, which its id makes unlike any other: it can be found on chain by it."""
        now, order_id, needs = self._clock.now(), "task_" + secrets.token_hex(12), wanted.compute_requirements
        config = {"function_name": model.function, "data": wanted.input_data, "request_id": order_id}
        body = json.dumps(config, ensure_ascii=False, separators=(",", ":")).encode()
        order = Order(
            id=order_id,
            owner=key.id,
            model_id=wanted.model_id,
            source=model.source,
            state=OrderState.CREATED,
            payment=model.price,
            expiry=int(self._chain_time()) + needs.max_execution_time + SPARE,
            max_seconds=needs.max_execution_time,
            gpu_memory=needs.gpu_memory,
            config_url=link(self._network.gateway_url, cid_v0(body)),
            created_at=now,
            updated_at=now,
            callback_url=wanted.callback_url or "",
            user_address=key.address,
        )
        return order, body

    def _publication(self, order: Order) -> Intent:
        what = contracts.publish_task(
            self._network.controller, order.source, order.config_url, order.expiry, order.payment
        )
        key = self._key(Effect.PUBLISH_TASK, order.id)
        return Intent(key, Effect.PUBLISH_TASK, order.source, what.to, what.data, float(order.expiry - SPARE))

    def _intent(self, effect: Effect, order_id: str, subject: Address) -> Intent:
        make = contracts.cancel_task if effect is Effect.CANCEL_TASK else contracts.confirm_response
        what = make(self._network.controller, subject)
        return Intent(self._key(effect, order_id), effect, subject, what.to, what.data)

    def _key(self, effect: Effect, order_id: str) -> str:
        return f"{self._network.chain_id}:{effect}:{order_id}"


def link(gateway_url: str, cid: str) -> str:
    """Where the gateway serves a CID, whether its URL is given with or without /ipfs/."""
    return gateway_url.rstrip("/").removesuffix("/ipfs") + "/ipfs/" + cid


def _fingerprint(wanted: Any) -> str:
    return hashlib.sha256(json.dumps(wanted.model_dump(), sort_keys=True).encode()).hexdigest()
