"""Follows the chain for our orders: a fact is a reason to look, what the contracts say now decides.

So a fact that is lost, repeated or undone costs time and nothing else: every live order is looked at again from time
to time, and the end of one that is over as `endings` says.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import structlog

from ogpu_provider.chain.contracts import decode_result
from ogpu_provider.chain.reader import view
from ogpu_provider.chain.receipts import Node
from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.documents import read_json
from ogpu_provider.domain.errors import FetchError, ProviderError, Retry, StoreError
from ogpu_provider.domain.facts import Block, Fact, TaskPublished, TaskStatus
from ogpu_provider.domain.intent import Effect, IntentRow, IntentState
from ogpu_provider.domain.order import Order, OrderState
from ogpu_provider.domain.together import together
from ogpu_provider.domain.units import Address
from ogpu_provider.gateway.local import LocalProvider
from ogpu_provider.gateway.problems import Problem
from ogpu_provider.gateway.standing import Standing, standing_of
from ogpu_provider.ipfs.cid import cid_of_link, names_content
from ogpu_provider.ipfs.fetch import Fetcher
from ogpu_provider.store.orders import GatewayStore

log = structlog.get_logger(__name__)
RESULT_LIMIT = 32 << 20
TOGETHER = 16
"""Orders that are held against the chain at once."""


class Follower:
    def __init__(
        self,
        store: GatewayStore,
        node: Node,
        fetcher: Fetcher,
        clock: Clock,
        settled: Callable[[Order], None],
        confirm: Callable[[Order], Awaitable[Order]],
        local: LocalProvider,
    ) -> None:
        self._store = store
        self._node = node
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

    async def look(self, order: Order) -> int | None:
        """Hold one order against the chain; what cannot be asked now is asked later.

        How high the chain was where it says of one that is over that it is.
        """
        try:
            return await self._compare(order)
        except (ProviderError, Problem) as error:
            log.warning("order_not_compared", order=order.id, code=error.code, error=str(error))
            return None

    async def on_outcome(self, row: IntentRow) -> None:
        """A publication that will never be on chain ends its order; the payment was never taken."""
        order = await self._store.order(row.intent.key.rpartition(":")[2])
        if order is None or order.state.over or row.state is IntentState.CONFIRMED:
            return
        match row.intent.effect:
            case Effect.PUBLISH_TASK if order.address is None:
                await self._fail(order, "publish." + row.state, "the task did not get on chain", None, refunded=True)
            case Effect.CANCEL_TASK | Effect.CONFIRM_RESPONSE as effect:
                await self._move(order, "refused_by_chain", detail={"effect": effect, "state": row.state})

    async def not_pinned(self, order: Order, why: str) -> None:
        """An order ends whose transaction was never sent, because nobody could have read what it asks for."""
        await self._fail(order, "publish.not_pinned", why, None, refunded=True)

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

    async def _compare(self, order: Order) -> int | None:
        if self._head is None:
            return None
        if order.address is None:
            now = Standing(self._head.number, None)
        else:
            now = await standing_of(self._node, order, order.address)
        if now.taken:
            if self._for_long(order, now):
                await self._move(order, "publication_undone", address=None, detail={"was": order.address})
            return None
        if order.state.over:
            return await self._still_over(order, now)
        late = self._head.timestamp > order.expiry
        if now.status is TaskStatus.CANCELED:
            await self._end(order, "cancelled", now, state=OrderState.CANCELLED, refunded=True)
        elif now.winner is not None:
            await self._complete(await self._running(order, now), now, *now.winner)
        elif now.status is None and late:
            await self._fail(
                order, "publish.undone", "the chain does not have it, and its time is over", now, refunded=True
            )
        elif now.status is TaskStatus.EXPIRED or (late and not now.responses):
            await self._fail(order, "task.expired", "nobody answered before its expiry", now, refunded=now.paid_back)
        elif not await self._undone(order, now) and now.provider is not None:
            order = await self._running(order, now)
            if now.manual and now.responses:
                await self._offer(order, now)
        return None

    async def _still_over(self, order: Order, now: Standing) -> int | None:
        """Where the chain has taken back what ended it, it is what is left; a result that was told of stays readable.

        Believed as `_undone` is.
        """
        if now.ends(order):
            self._missed.pop(order.id, None)
            if now.paid_back and not order.refunded:
                await self._move(order, "refunded", now, refunded=True)
            return now.height
        if self._for_long(order, now):
            gone: dict[str, Any] = {"response": None, "code": "", "reason": "", "refunded": False}
            if order.state is OrderState.COMPLETED and order.response in [response for _, response in now.responses]:
                del gone["response"]
            else:
                gone["provider"] = now.provider
            state = OrderState.CREATED if now.provider is None else OrderState.EXECUTING
            await self._move(order, "reopened", state=state, detail={"was": order.state}, **gone)
        return None

    def _for_long(self, order: Order, now: Standing) -> bool:
        """Whether a later block still lacks what an order shows: nodes do not come by a block at the same moment."""
        if now.height <= self._missed.setdefault(order.id, now.height):
            return False
        del self._missed[order.id]
        return True

    async def _undone(self, order: Order, now: Standing) -> bool:
        """Whether blocks were undone that had its attempt, or the response that it shows: it goes back to what is left.

        Believed once a later block still lacks it.
        """
        lost = order.response is not None and order.response not in [response for _, response in now.responses]
        alone = order.state is not OrderState.CREATED and now.provider is None
        if not (lost or alone):
            self._missed.pop(order.id, None)
            return False
        if not self._for_long(order, now):
            return True
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

    async def _complete(self, order: Order, now: Standing, provider: Address, response: Address) -> None:
        """It is paid for, so one that cannot be read has failed: for good, or since its time is over."""
        try:
            order = await self._collect(order, provider, response)
        except FetchError as error:
            if error.retry is Retry.NEVER or self._clock.now() > order.expiry:
                code, paid = error.code.replace("fetch.", "result."), {"provider": provider, "response": response}
                await self._fail(order, code, str(error), now, refunded=False, **paid)
            return
        await self._end(order, "completed", now, state=OrderState.COMPLETED)

    async def _collect(self, order: Order, provider: Address, response: Address) -> Order:
        """Fetch and keep a response's result; a link that names a CID must lead to content of that CID.

        Raises FetchError, result.not_json for what is no JSON.
        """
        held = bool(order.result_url) and await self._store.result(order.id) is not None
        if held and order.response == response:
            return order
        method, params = view(response, "Response.getResponseParams")
        link = decode_result("Response.getResponseParams", await self._node.call(method, *params))[2]
        if not (held and order.result_url == link):
            await self._store.put_result(order.id, await self._fetched(link))
        return await self._move(order, "responded", provider=provider, response=response, result_url=link)

    async def _fetched(self, link: str) -> bytes:
        body = await self._fetcher.get(link, limit_bytes=RESULT_LIMIT)
        cid = cid_of_link(link)
        if cid is not None and not names_content(cid, body):
            raise FetchError("the content is not what its link names", code="result.mismatch", retry=Retry.NEVER)
        try:
            read_json(body)
        except ValueError as error:
            raise FetchError(str(error)[:200], code="result.not_json", retry=Retry.NEVER) from error
        return body

    async def _fail(self, order: Order, code: str, reason: str, now: Standing | None, **changes: Any) -> None:
        await self._end(order, "failed", now, state=OrderState.FAILED, code=code, reason=reason, **changes)

    async def _end(self, order: Order, kind: str, now: Standing | None, **changes: Any) -> None:
        self._missed.pop(order.id, None)
        self._settled(await self._move(order, kind, now, **changes))

    async def _move(
        self,
        order: Order,
        kind: str,
        now: Standing | None = None,
        *,
        detail: Mapping[str, object] | None = None,
        **changes: Any,
    ) -> Order:
        """`now`: what the chain said, where that ends the order."""
        height = now.height if now else None
        moved = await self._store.move(order, kind, at=self._clock.now(), height=height, detail=detail or {}, **changes)
        log.info("order_" + kind, order=order.id, task=moved.address)
        if kind == "published":
            self._settled(moved)
        return moved
