"""Asking for tasks, and what can still be changed about them."""

from typing import Annotated, Any

from fastapi import FastAPI, Header, Response
from pydantic import ValidationError

from ogpu_provider.domain.errors import ProviderError
from ogpu_provider.domain.order import ApiKey
from ogpu_provider.gateway import problems
from ogpu_provider.gateway.documents import (
    BatchDocument,
    NewBatch,
    NewTask,
    Shown,
    TaskDocument,
    WholeTask,
    task_document,
)
from ogpu_provider.gateway.problems import Problem
from ogpu_provider.gateway.routes.context import Api, answered, refusals
from ogpu_provider.gateway.routes.prefer import Preferred, waited


def add(app: FastAPI, api: Api) -> None:
    _add_making(app, api)
    _add_changing(app, api)


def _add_making(app: FastAPI, api: Api) -> None:
    Writer = Annotated[ApiKey, api.key("tasks:write")]
    Once = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=200)]

    @app.post(
        "/api/tasks",
        status_code=202,
        response_model=TaskDocument | WholeTask,
        responses=refusals(402, 404),
        tags=["tasks"],
    )
    async def create_task(key: Writer, wanted: NewTask, once: Once = None, prefer: Preferred = "") -> Response:
        """Ask for a task. It is durable when this answers, and published as soon as the chain takes it.

        With `Prefer: wait=N` the answer waits up to 60 s for its end, and is the whole task with its results.
        """
        order = await api.desk.create(key, wanted, once)
        headers = {"Location": f"/api/tasks/{order.id}"} | await api.desk.allowance(key)
        order, applied = await waited(api, order, prefer)
        if not applied:
            return answered(task_document(order, api.currency), 202, headers)
        return answered(await api.shown(key, order.id), 202, headers | applied)

    @app.post("/api/tasks/batch", status_code=207, response_model=BatchDocument, responses=refusals(), tags=["tasks"])
    async def create_batch(key: Writer, wanted: NewBatch, once: Once = None) -> Response:
        """Ask for up to 100 tasks, each with its own outcome."""
        await api.rates.batch(key.id, api.desk.quota(key))
        marks = [f"{once}#{place}" if once else None for place in range(len(wanted.tasks))]
        items = [await _one(api, key, one, mark) for one, mark in zip(wanted.tasks, marks, strict=True)]
        return answered({"results": items}, 207, await api.desk.allowance(key))


def _add_changing(app: FastAPI, api: Api) -> None:
    Writer = Annotated[ApiKey, api.key("tasks:write")]
    terms: dict[str, Any] = {"response_model": TaskDocument, "responses": refusals(404, 409), "tags": ["tasks"]}

    @app.post("/api/tasks/{task_id}/cancel", status_code=202, **terms)
    async def cancel_task(key: Writer, task_id: str) -> Response:
        """Take back a task that nobody has attempted; it holds once the chain says so."""
        return answered(task_document(await api.asks.cancel(await api.own(key, task_id)), api.currency), 202)

    @app.post("/api/tasks/{task_id}/confirm", status_code=202, **terms)
    async def confirm_task(key: Writer, task_id: str) -> Response:
        """Accept, and so pay, the response of a manual-confirmation task."""
        return answered(task_document(await api.asks.confirm(await api.own(key, task_id)), api.currency), 202)


async def _one(api: Api, key: ApiKey, wanted: Any, once: str | None) -> Shown:
    """One item of a batch: its refusal is its own."""
    try:
        order = await api.desk.create(key, NewTask.model_validate(wanted), once)
        return _item(202, task=task_document(order, api.currency))
    except (Problem, ProviderError) as error:
        problem = error if isinstance(error, Problem) else problems.problem_of(error)
        return _item(problem.status, code=problem.code, detail=problem.detail)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        return _item(422, code="request.invalid", detail=f"{place}: {first['msg']}".removeprefix(": "))


def _item(status: int, *, task: Shown | None = None, code: str | None = None, detail: str | None = None) -> Shown:
    return {"status": status, "task": task, "code": code, "detail": detail}
