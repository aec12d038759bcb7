"""Follows the chain for our orders: a fact is a reason to look, what the contracts say now decides.

So a fact that is lost, repeated or undone costs time and nothing else: every live order is looked at again from time
to time.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from ogpu_provider.chain.contracts import decode_result, task_status
from ogpu_provider.chain.reader import ChainReader
from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.documents import read_json
from ogpu_provider.domain.errors import FetchError, ProviderError, Retry, StoreError
from ogpu_provider.domain.facts import Block, Fact, TaskPublished, TaskStatus
from ogpu_provider.domain.intent import Effect, IntentRow, IntentState
from ogpu_provider.domain.order import Order, OrderState
from ogpu_provider.domain.source import DeliveryMethod
from ogpu_provider.domain.together import together
from ogpu_provider.domain.units import ZERO_ADDRESS, Address
from ogpu_provider.gateway.local import LocalProvider
from ogpu_provider.gateway.problems import Problem
from ogpu_provider.ipfs.cid import cid_of_link, names_content
from ogpu_provider.ipfs.fetch import Fetcher
from ogpu_provider.store.orders import GatewayStore

log = structlog.get_logger(__name__)
RESULT_LIMIT = 32 << 20
TOGETHER = 16
"""Orders that are held against the chain at once."""
_FIRST = 50
"""Attempts of a task that are looked at for a response."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A task on chain. `provider` is who attempted it first; `responses` are (provider, response), the winner's alone
    once there is a winner, else the first ones in their order."""

    status: TaskStatus
    provider: Address | None
    responses: Sequence[tuple[Address, Address]]
    confirmed: bool
    manual: bool


class Follower:
    def __init__(
        self,
        store: GatewayStore,
        reader: ChainReader,
        fetcher: Fetcher,
        clock: Clock,
        settled: Callable[[Order], None],
        confirm: Callable[[Order], Awaitable[Order]],
        local: LocalProvider,
    ) -> None:
        self._store = store
        self._reader = reader
        self._fetcher = fetcher
        self._clock = clock
        self._settled = settled
        self._confirm = confirm
        self._local = local
        self._unreadable: set[Address] = set()
        self._missed: dict[str, int] = {}
        self._head: Block | None = None

    async def deliver(self, block: Block, facts: Sequence[Fact]) -> None:
        """One block: find our publications, look at the orders that it speaks of, remember it."""
        self._head = block
        await together(self._published(fact) for fact in facts if isinstance(fact, TaskPublished))
        told = dict.fromkeys(getattr(fact, "task", None) for fact in facts if not isinstance(fact, TaskPublished))
        found = [order for task in told if task and (order := await self._store.order_at(task))]
        for start in range(0, len(found), TOGETHER):
            await together(self.look(order) for order in found[start : start + TOGETHER])
        await self._store.set_cursor(block)

    async def look(self, order: Order) -> None:
        """Hold one order against the chain; what cannot be asked now is asked later."""
        if order.state.over and (order.refunded or order.state is OrderState.COMPLETED):
            return
        try:
            await self._compare(order)
        except (ProviderError, Problem) as error:
            log.warning("order_not_compared", order=order.id, code=error.code, error=str(error))

    async def on_outcome(self, row: IntentRow) -> None:
        """A publication that will never be on chain ends its order; the payment was never taken."""
        order = await self._store.order(row.intent.key.rpartition(":")[2])
        if order is None or order.state.over or row.state is IntentState.CONFIRMED:
            return
        match row.intent.effect:
            case Effect.PUBLISH_TASK if order.address is None:
                await self._fail(order, "publish." + row.state, "the task did not get on chain", refunded=True)
            case Effect.CANCEL_TASK | Effect.CONFIRM_RESPONSE as effect:
                await self._move(order, "refused_by_chain", detail={"effect": effect, "state": row.state})

    async def not_pinned(self, order: Order, why: str) -> None:
        """An order ends whose transaction was never sent, because nobody could have read what it asks for."""
        await self._fail(order, "publish.not_pinned", why, refunded=True)

    async def _published(self, fact: TaskPublished) -> None:
        row = await self._store.intent_of(fact.origin.tx_hash)
        if row is None or row.intent.effect is not Effect.PUBLISH_TASK:
            return
        while (order := await self._store.order(row.intent.key.rpartition(":")[2])) and order.address != fact.task:
            try:
                await self._move(order, "published", address=fact.task, detail={"transaction": fact.origin.tx_hash})
            except StoreError as error:
                if error.code != "store.stale":
                    raise

    async def _compare(self, order: Order) -> None:
        if order.address is None:
            return
        now = await self._standing(order.address)
        if order.state.over:
            if now.status in (TaskStatus.EXPIRED, TaskStatus.CANCELED):
                await self._move(order, "refunded", refunded=True)
            return
        if now.status is TaskStatus.CANCELED:
            await self._end(order, "cancelled", state=OrderState.CANCELLED, refunded=True)
        elif now.status is TaskStatus.EXPIRED:
            await self._fail(order, "task.expired", "nobody answered before its expiry", refunded=True)
        elif now.status is TaskStatus.FINALIZED and now.confirmed:
            await self._complete(await self._running(order, now), *now.responses[0])
        elif not now.responses and self._head is not None and self._head.timestamp > order.expiry:
            await self._fail(order, "task.expired", "nobody answered before its expiry", refunded=False)
        elif not await self._undone(order, now) and now.provider is not None:
            order = await self._running(order, now)
            if now.manual and now.responses:
                await self._offer(order, now)

    async def _undone(self, order: Order, now: Standing) -> bool:
        """Whether blocks were undone that had its attempt, or the response that it shows: it goes back to what is left.

        Believed once a later block still lacks it: nodes do not come by a block at the same moment.
        """
        lost = order.response is not None and order.response not in [response for _, response in now.responses]
        alone = order.state is not OrderState.CREATED and now.provider is None
        height = self._head.number if self._head else 0
        if not (lost or alone):
            self._missed.pop(order.id, None)
            return False
        if height <= self._missed.setdefault(order.id, height):
            return True
        del self._missed[order.id]
        gone: dict[str, Any] = {"response": None, "result_url": ""}
        if alone:
            gone |= {"state": OrderState.CREATED, "provider": None}
        await self._move(order, "attempt_undone" if alone else "response_undone", **gone)
        return True

    async def _running(self, order: Order, now: Standing) -> Order:
        """ASSIGNED by an attempt; EXECUTING is known of the local provider, else inferred: at the next look, or from
        a response."""
        fresh = order.state is OrderState.CREATED
        if fresh:
            order = await self._move(order, "assigned", state=OrderState.ASSIGNED, provider=now.provider)
        if order.state is OrderState.ASSIGNED:
            known = order.address is not None and await self._local.executing(order.address)
            if known or not fresh or now.responses:
                detail = {"inferred": not known}
                order = await self._move(order, "started", state=OrderState.EXECUTING, detail=detail)
        return order

    async def _offer(self, order: Order, now: Standing) -> None:
        """The first response of a manual-confirmation task whose result can be read, for its client to read as well;
        accepted where the model says so. One that cannot be read costs nothing, and another may come."""
        if order.response is None:
            for provider, response in now.responses:
                if response in self._unreadable:
                    continue
                try:
                    order = await self._collect(order, provider, response)
                    break
                except FetchError as error:
                    log.info("response_not_readable", order=order.id, response=response, code=error.code)
                    if error.retry is Retry.NEVER:
                        self._unreadable.add(response)
            else:
                return
        model = await self._store.model(order.model_id)
        if model is not None and model.auto_confirm:
            await self._confirm(order)

    async def _complete(self, order: Order, provider: Address, response: Address) -> None:
        """It is paid for, so one that cannot be read has failed: for good, or since its time is over."""
        try:
            order = await self._collect(order, provider, response)
        except FetchError as error:
            if error.retry is Retry.NEVER or self._clock.now() > order.expiry:
                await self._fail(order, error.code.replace("fetch.", "result."), str(error), refunded=False)
            return
        await self._end(order, "completed", state=OrderState.COMPLETED)

    async def _collect(self, order: Order, provider: Address, response: Address) -> Order:
        """Fetch and keep a response's result; a link that names a CID must lead to content of that CID.

        Raises FetchError, result.not_json for what is no JSON.
        """
        if order.response == response and await self._store.result(order.id) is not None:
            return order
        link = (await self._reader.read(response, "Response.getResponseParams"))[2]
        body = await self._fetcher.get(link, limit_bytes=RESULT_LIMIT)
        cid = cid_of_link(link)
        if cid is not None and not names_content(cid, body):
            raise FetchError("the content is not what its link names", code="result.mismatch", retry=Retry.NEVER)
        try:
            read_json(body)
        except ValueError as error:
            raise FetchError(str(error)[:200], code="result.not_json", retry=Retry.NEVER) from error
        await self._store.put_result(order.id, body)
        return await self._move(order, "responded", provider=provider, response=response, result_url=link)

    async def _standing(self, task: Address) -> Standing:
        status, count, method = await self._reader.reads(
            (task, "Task.getStatus", ()), (task, "Task.getAttemptCount", ()), (task, "Task.getDeliveryMethod", ())
        )
        attempts = min(decode_result("Task.getAttemptCount", count), _FIRST)
        manual = decode_result("Task.getDeliveryMethod", method) == DeliveryMethod.MANUAL_CONFIRMATION
        if not attempts:
            return Standing(task_status(status), None, (), False, manual)
        providers = await self._reader.read(task, "Task.getAttempters", 0, attempts - 1)
        winner = await self._reader.winner(task)
        if winner is not None:
            won = await self._reader.read(task, "Task.responseOf", winner)
            return Standing(task_status(status), providers[0], ((winner, won),), True, manual)
        responses = await self._reader.read(task, "Task.getResponsesOf", 0, attempts - 1)
        given = [(p, r) for p, r in zip(providers, responses, strict=True) if r != ZERO_ADDRESS]
        return Standing(task_status(status), providers[0], given, False, manual)

    async def _fail(self, order: Order, code: str, reason: str, *, refunded: bool) -> None:
        await self._end(order, "failed", state=OrderState.FAILED, code=code, reason=reason, refunded=refunded)

    async def _end(self, order: Order, kind: str, **changes: Any) -> None:
        self._missed.pop(order.id, None)
        self._settled(await self._move(order, kind, **changes))

    async def _move(
        self, order: Order, kind: str, *, detail: Mapping[str, object] | None = None, **changes: Any
    ) -> Order:
        moved = await self._store.move(order, kind, at=self._clock.now(), detail=detail or {}, **changes)
        log.info("order_" + kind, order=order.id, task=moved.address)
        if kind == "published":
            self._settled(moved)
        return moved
