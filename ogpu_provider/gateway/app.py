"""The routes of the Tasks API. Every object is asked for with its owner: what belongs to another key is not there."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, Header, Query, Response
from pydantic import ValidationError

from ogpu_provider import __version__
from ogpu_provider.domain.errors import ProviderError
from ogpu_provider.domain.order import ApiKey, Order, OrderState
from ogpu_provider.gateway import problems
from ogpu_provider.gateway.access import digest
from ogpu_provider.gateway.desk import Desk
from ogpu_provider.gateway.documents import NewBatch, NewTask, event_document, model_document, task_document
from ogpu_provider.gateway.formats import render
from ogpu_provider.gateway.problems import Problem
from ogpu_provider.store.orders import GatewayStore

_REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"description": text, "content": {problems.MEDIA_TYPE: {}}}
    for status, text in {
        401: "no valid key",
        402: "balance or budget",
        403: "scope",
        404: "not there",
        406: "no such format of this result",
        409: "not in this state",
        413: "too large",
        422: "not valid",
        429: "too many",
        503: "not now",
    }.items()
}
Json = dict[str, Any]
Guard = Callable[..., Awaitable[ApiKey]]


def create_app(store: GatewayStore, desk: Desk, *, currency: str, body_limit: int) -> FastAPI:
    app = FastAPI(
        title="OGPU Tasks API",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        max_body_size=body_limit,
        responses=_REFUSALS,
    )
    problems.install(app)
    _add_models(app, store, currency)
    _add_reads(app, store, currency)
    _add_orders(app, store, desk, currency)
    return app


def _guard(store: GatewayStore, scope: str) -> Guard:
    """Who asks: a key that is known, not revoked, and has the scope."""

    async def check(authorization: Annotated[str, Header()] = "") -> ApiKey:
        kind, _, text = authorization.partition(" ")
        key = await store.key_of(digest(text)) if kind.lower() == "bearer" and text else None
        if key is None or key.revoked_at is not None:
            raise Problem(401, "auth.key", "give a valid API key", {"WWW-Authenticate": "Bearer"})
        if scope not in key.scopes:
            raise Problem(403, "auth.scope", f"the key has no scope {scope}")
        return key

    return check


async def _own(store: GatewayStore, key: ApiKey, task_id: str) -> Order:
    order = await store.order(task_id, owner=key.id)
    if order is None:
        raise Problem(404, "task.unknown", "no such task")
    return order


def _add_models(app: FastAPI, store: GatewayStore, currency: str) -> None:
    read = Depends(_guard(store, "tasks:read"))

    @app.get("/api/models", dependencies=[read])
    async def models() -> Json:
        return {"models": [model_document(one, currency) for one in await store.models()]}

    @app.get("/api/models/{model_id}", dependencies=[read])
    async def model(model_id: str) -> Json:
        found = await store.model(model_id)
        if found is None:
            raise Problem(404, "model.unknown", "no such model")
        return model_document(found, currency)


def _add_reads(app: FastAPI, store: GatewayStore, currency: str) -> None:
    Reader = Annotated[ApiKey, Depends(_guard(store, "tasks:read"))]

    @app.get("/api/tasks")
    async def tasks(
        key: Reader,
        page: Annotated[int, Query(ge=1, le=10_000)] = 1,
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
        status: OrderState | None = None,
        model_id: str | None = None,
    ) -> Json:
        found, total = await store.orders(
            key.id, state=status, model_id=model_id, offset=(page - 1) * limit, limit=limit
        )
        shown = [task_document(one, currency) for one in found]
        return {"tasks": shown, "page": page, "limit": limit, "total": total}

    @app.get("/api/tasks/{task_id}")
    async def task(key: Reader, task_id: str) -> Json:
        order = await _own(store, key, task_id)
        timeline = [event_document(one) for one in await store.history(order.id)]
        return task_document(order, currency) | {"timeline": timeline}

    @app.get("/api/tasks/{task_id}/results")
    async def results(key: Reader, task_id: str, format: Literal["json", "csv", "binary"] = "json") -> Response:
        order = await _own(store, key, task_id)
        body = await store.result(order.id) if order.state is OrderState.COMPLETED else None
        if body is None:
            raise Problem(409, "result.not_ready", f"there is no result: the task is {order.state}")
        shown, kind = render(body, format)
        return Response(shown, media_type=kind, headers={"X-Content-Type-Options": "nosniff"})

    @app.get("/api/tasks/{task_id}/logs")
    async def logs(key: Reader, task_id: str) -> Json:
        order = await _own(store, key, task_id)
        return {"origin": "chain", "lines": [event_document(one) for one in await store.history(order.id)]}


def _add_orders(app: FastAPI, store: GatewayStore, desk: Desk, currency: str) -> None:
    Writer = Annotated[ApiKey, Depends(_guard(store, "tasks:write"))]
    Once = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=255)]

    @app.post("/api/tasks", status_code=202)
    async def create(key: Writer, wanted: NewTask, response: Response, once: Once = None) -> Json:
        order = await desk.create(key, wanted, once)
        response.headers["Location"] = f"/api/tasks/{order.id}"
        return task_document(order, currency)

    @app.post("/api/tasks/batch", status_code=207)
    async def batch(key: Writer, wanted: NewBatch) -> Json:
        return {"results": [await _one(desk, key, one, currency) for one in wanted.tasks]}

    @app.post("/api/tasks/{task_id}/cancel", status_code=202)
    async def cancel(key: Writer, task_id: str) -> Json:
        return task_document(await desk.cancel(await _own(store, key, task_id)), currency)

    @app.post("/api/tasks/{task_id}/confirm", status_code=202)
    async def confirm(key: Writer, task_id: str) -> Json:
        return task_document(await desk.confirm(await _own(store, key, task_id)), currency)


async def _one(desk: Desk, key: ApiKey, wanted: Any, currency: str) -> Json:
    """One item of a batch: its refusal is its own."""
    try:
        return {"status": 202, "task": task_document(await desk.create(key, NewTask(**wanted), None), currency)}
    except (Problem, ProviderError) as error:
        problem = error if isinstance(error, Problem) else problems.problem_of(error)
        return {"status": problem.status, "code": problem.code, "detail": problem.detail}
    except (ValidationError, TypeError):
        return {"status": 422, "code": "request.invalid", "detail": "not what a task is"}
