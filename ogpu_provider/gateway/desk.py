"""Takes orders: checks what is asked for and what it costs, and makes it durable before it is answered."""

import hashlib
import json
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ogpu_provider.chain.networks import Network
from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.errors import FetchError, StoreError
from ogpu_provider.domain.order import ApiKey, Model, Order, OrderState, Quota
from ogpu_provider.domain.units import Wei, coin
from ogpu_provider.gateway.access import TIERS
from ogpu_provider.gateway.asks import SPARE, Asks
from ogpu_provider.gateway.documents import NewTask
from ogpu_provider.gateway.problems import Problem
from ogpu_provider.gateway.rates import HOUR_S, told
from ogpu_provider.ipfs.cid import cid_v0
from ogpu_provider.store.orders import GatewayStore


class Desk:
    """`balance` tells what the client has in the Vault, in wei. `vet` raises FetchError for a callback URL that leads
    where nobody may be told to post. `chain_time`, in unix seconds, is what expiries are held against."""

    def __init__(
        self,
        store: GatewayStore,
        asks: Asks,
        network: Network,
        clock: Clock,
        balance: Callable[[], Awaitable[Wei]],
        vet: Callable[[str], Awaitable[None]],
        chain_time: Callable[[], float],
        tiers: Mapping[str, Quota] = TIERS,
    ) -> None:
        self._store = store
        self._asks = asks
        self._network = network
        self._clock = clock
        self._balance = balance
        self._vet = vet
        self._chain_time = chain_time
        self._tiers = tiers
        self._reserved: dict[str, Wei] = {}
        self._reserved_sum: Wei = 0

    async def restore(self) -> None:
        """Payments of orders that are not on chain yet count as spent."""
        self._reserved = {one.id: one.payment for one in await self._store.live() if one.address is None}
        self._reserved_sum = sum(self._reserved.values())

    def release(self, order_id: str) -> None:
        """The order's payment is in escrow, or will never be."""
        self._reserved_sum -= self._reserved.pop(order_id, 0)

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
                order, config, self._asks.publication(order), budget=key.day_budget, quota=self.quota(key), once=mark
            )
        except StoreError as error:
            if error.code not in ("gateway.hourly", "gateway.concurrent"):
                raise
            raise await self._too_many(key, error) from error
        finally:
            if made is None or made.id != order.id:
                self.release(order.id)
        return made

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
        """The order and its config document, which its id makes unlike any other: it can be found on chain by it.

        Raises Problem 422.
        """
        now, order_id, needs = self._clock.now(), "task_" + secrets.token_hex(12), wanted.compute_requirements
        config = {"function_name": model.function, "data": wanted.input_data, "request_id": order_id}
        try:
            body = json.dumps(config, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
        except ValueError as error:  # NaN, or half of a surrogate pair: Python reads it, others do not
            raise Problem(422, "request.invalid", f"input_data is no JSON: {str(error)[:100]}") from error
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


def link(gateway_url: str, cid: str) -> str:
    """Where the gateway serves a CID, whether its URL is given with or without /ipfs/."""
    return gateway_url.rstrip("/").removesuffix("/ipfs") + "/ipfs/" + cid


def _fingerprint(wanted: Any) -> str:
    return hashlib.sha256(json.dumps(wanted.model_dump(), sort_keys=True).encode()).hexdigest()
