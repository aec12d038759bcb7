"""What is asked of the chain about an order: its publication, its cancellation, the confirmation of its response."""

from collections.abc import Callable

from ogpu_provider.chain import contracts
from ogpu_provider.chain.networks import Network
from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.intent import Effect, Intent, IntentState
from ogpu_provider.domain.order import Order, OrderState
from ogpu_provider.domain.units import Address
from ogpu_provider.gateway.problems import Problem
from ogpu_provider.store.orders import GatewayStore

SPARE = 60
"""Seconds that a task has beside its execution time: to be published, attempted and answered."""
_EFFECTS = (Effect.PUBLISH_TASK, Effect.CANCEL_TASK, Effect.CONFIRM_RESPONSE)


class Asks:
    """`woken` hears that there is a transaction to send."""

    def __init__(self, store: GatewayStore, network: Network, clock: Clock, woken: Callable[[], None]) -> None:
        self._store = store
        self._network = network
        self._clock = clock
        self._woken = woken

    def publication(self, order: Order) -> Intent:
        """For the transaction that makes the order; given up where too little of its time would be left."""
        what = contracts.publish_task(
            self._network.controller, order.source, order.config_url, order.expiry, order.payment
        )
        key = self._key(Effect.PUBLISH_TASK, order.id)
        return Intent(key, Effect.PUBLISH_TASK, order.source, what.to, what.data, float(order.expiry - SPARE))

    async def cancel(self, order: Order) -> Order:
        """Plan the cancellation; it holds once the chain says so. Raises Problem 409."""
        if order.state is not OrderState.CREATED:
            raise Problem(409, "task.not_cancellable", f"only a task that nobody has attempted; it is {order.state}")
        if order.address is None:
            raise Problem(
                409, "task.not_published", "it is not on chain yet; ask again in a moment", {"Retry-After": "2"}
            )
        return await self._ask(order, "cancel_requested", self._intent(Effect.CANCEL_TASK, order.id, order.address))

    async def confirm(self, order: Order) -> Order:
        """Accept the response of a manual-confirmation task. Raises Problem 409."""
        if order.response is None or order.state.over:
            raise Problem(409, "task.not_confirmable", "there is no response that waits for a confirmation")
        return await self._ask(
            order, "confirm_requested", self._intent(Effect.CONFIRM_RESPONSE, order.id, order.response)
        )

    def effects(self, order_id: str) -> list[str]:
        """Keys of what may be sent to the chain for an order, in the order of its life."""
        return [self._key(effect, order_id) for effect in _EFFECTS]

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

    def _intent(self, effect: Effect, order_id: str, subject: Address) -> Intent:
        make = contracts.cancel_task if effect is Effect.CANCEL_TASK else contracts.confirm_response
        what = make(self._network.controller, subject)
        return Intent(self._key(effect, order_id), effect, subject, what.to, what.data)

    def _key(self, effect: Effect, order_id: str) -> str:
        return f"{self._network.chain_id}:{effect}:{order_id}"
