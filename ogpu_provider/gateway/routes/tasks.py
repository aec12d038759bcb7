"""Reading tasks. Every object is asked for with its owner: what belongs to another key is not there."""

from typing import Annotated, Any, Literal

from fastapi import FastAPI, Header, Query, Response
from fastapi.responses import StreamingResponse

from ogpu_provider.chain.contracts import checksummed
from ogpu_provider.domain.order import ApiKey, OrderState
from ogpu_provider.gateway.documents import Logs, TaskPage, WholeTask, event_document, task_document
from ogpu_provider.gateway.formats import render
from ogpu_provider.gateway.problems import Problem
from ogpu_provider.gateway.routes.context import Api, answered, refusals
from ogpu_provider.gateway.routes.prefer import Preferred, waited

_NEWEST = 1 << 62
_FORMATS: dict[str, Any] = {"application/json": {}, "text/csv": {}, "application/octet-stream": {}}


def add(app: FastAPI, api: Api) -> None:
    _add_tasks(app, api)
    _add_findings(app, api)
    _add_streams(app, api)


def _add_tasks(app: FastAPI, api: Api) -> None:
    Reader = Annotated[ApiKey, api.key("tasks:read")]

    @app.get("/api/tasks", response_model=TaskPage, responses=refusals(), tags=["tasks"])
    async def list_tasks(
        key: Reader,
        page: Annotated[int, Query(ge=1, le=10_000)] = 1,
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
        status: OrderState | None = None,
        model_id: Annotated[str | None, Query(max_length=100)] = None,
        user_address: Annotated[str | None, Query(pattern="^0x[0-9a-fA-F]{40}$")] = None,
    ) -> Response:
        """The key's own tasks, the newest first."""
        found, total = await api.store.orders(
            key.id,
            state=status,
            model_id=model_id,
            user_address=checksummed(user_address) if user_address else None,
            offset=(page - 1) * limit,
            limit=limit,
        )
        shown = [task_document(one, api.currency) for one in found]
        return answered({"tasks": shown, "page": page, "limit": limit, "total": total})

    @app.get("/api/tasks/{task_id}", response_model=WholeTask, responses=refusals(404), tags=["tasks"])
    async def get_task(key: Reader, task_id: str, prefer: Preferred = "") -> Response:
        """One task with its timeline and transactions. `Prefer: wait=N` waits up to 60 s for its end."""
        applied = (await waited(api, await api.own(key, task_id), prefer))[1] if prefer else {}
        return answered(await api.shown(key, task_id), 200, applied)


def _add_findings(app: FastAPI, api: Api) -> None:
    Reader = Annotated[ApiKey, api.key("tasks:read")]

    @app.get(
        "/api/tasks/{task_id}/results",
        response_class=Response,
        responses=refusals(404, 406, 409) | {200: {"content": _FORMATS}},
        tags=["tasks"],
    )
    async def get_results(key: Reader, task_id: str, format: Literal["json", "csv", "binary"] = "json") -> Response:
        """The result. Before its client has confirmed it, that of a manual-confirmation task is shown as well."""
        order = await api.own(key, task_id)
        body = await api.store.result(order.id)
        if body is None:
            raise Problem(409, "result.not_ready", f"there is no result: the task is {order.state}")
        shown, kind = render(body, format)
        confirmed = "true" if order.state is OrderState.COMPLETED else "false"
        return Response(shown, media_type=kind, headers={"Ogpu-Confirmed": confirmed})

    @app.get("/api/tasks/{task_id}/logs", response_model=Logs, responses=refusals(404), tags=["tasks"])
    async def get_logs(key: Reader, task_id: str) -> Response:
        """The container's log where the local provider ran it, else the chain's timeline; `origin` says which."""
        order = await api.own(key, task_id)
        printed = await api.printed(order)
        if printed is not None:
            return answered({"origin": "container", "lines": printed})
        lines = [event_document(one) for one in await api.store.history(order.id)]
        return answered({"origin": "chain", "lines": lines})


def _add_streams(app: FastAPI, api: Api) -> None:
    Reader = Annotated[ApiKey, api.key("tasks:read")]
    After = Annotated[str, Header(alias="Last-Event-ID", pattern=r"^\d{0,18}$")]
    terms: dict[str, Any] = {
        "response_class": StreamingResponse,
        "responses": refusals(404) | {200: {"content": {"text/event-stream": {}}}},
        "tags": ["tasks"],
    }

    @app.get("/api/tasks/{task_id}/events", **terms)
    async def stream_task(key: Reader, task_id: str, after: After = "") -> StreamingResponse:
        """Server-sent events of one task from its beginning, or behind `Last-Event-ID`, until it is over."""
        order = await api.own(key, task_id)
        return _events(api, key, order.id, int(after or 0))

    @app.get("/api/events", **terms)
    async def stream_all(key: Reader, after: After = "") -> StreamingResponse:
        """Server-sent events of all the key's tasks, from now on or behind `Last-Event-ID`."""
        return _events(api, key, None, int(after) if after else await api.store.last_event())


def _events(api: Api, key: ApiKey, order: str | None, after: int) -> StreamingResponse:
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    lines = api.streams.open(key.id, order, min(after, _NEWEST))
    return StreamingResponse(lines, media_type="text/event-stream", headers=headers)
