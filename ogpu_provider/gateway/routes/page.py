"""The page for people: their tasks, a new one, a timeline. Rendered here; its forms and links work without a script."""

import json
import secrets
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import Any
from urllib.parse import parse_qsl

import jinja2
from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from ogpu_provider.domain.errors import ProviderError
from ogpu_provider.domain.order import ApiKey, Order
from ogpu_provider.gateway.access import COOKIE, SESSION_PREFIX, Guard, digest, from_our_page
from ogpu_provider.gateway.documents import NewTask, Requirements, model_document, task_document, whole_task
from ogpu_provider.gateway.problems import Problem, problem_of
from ogpu_provider.gateway.routes.auth import sender_of
from ogpu_provider.gateway.routes.context import Api
from ogpu_provider.gateway.signin import SESSION_S

SHOWN = 64 << 10
LIMIT = 20
FORM_BYTES = 256 << 10
_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'"
)


def add(app: FastAPI, api: Api) -> None:
    pages = Pages(api)
    for path, method, handler in (
        ("/", "GET", pages.tasks),
        ("/tasks/{task_id}", "GET", pages.task),
        ("/tasks", "POST", pages.create),
        ("/tasks/{task_id}/cancel", "POST", pages.cancel),
        ("/tasks/{task_id}/confirm", "POST", pages.confirm),
        ("/sign-in", "POST", pages.sign_in),
        ("/sign-out", "POST", pages.sign_out),
        ("/page.css", "GET", pages.style),
        ("/page.js", "GET", pages.script),
    ):
        app.add_api_route(path, handler, methods=[method], include_in_schema=False, response_class=HTMLResponse)


class Pages:
    def __init__(self, api: Api) -> None:
        self._api = api
        self._reads = Guard(api.store, api.clock, "tasks:read")
        self._writes = Guard(api.store, api.clock, "tasks:write")

    async def tasks(self, request: Request, page: int = 1) -> Response:
        key = await self._reader(request)
        return _shown("sign_in.html") if key is None else await self._list(key, max(1, min(page, 10_000)))

    async def task(self, request: Request, task_id: str) -> Response:
        key = await self._reader(request)
        if key is None:
            return _back()
        try:
            whole = await self._api.whole(key, task_id)
        except Problem as problem:
            return await self._list(key, 1, problem=problem.detail, status=problem.status)
        body = whole.result
        return _shown(
            "task.html",
            task=whole_task(whole, self._api.currency),
            over=whole.order.state.over,
            result=None if body is None else body[:SHOWN].decode(errors="replace"),
            writes="tasks:write" in key.scopes,
            name=key.name,
        )

    async def create(self, request: Request) -> Response:
        key, form = await self._writes(request), await _form(request)
        try:
            wanted = NewTask(
                model_id=form.get("model_id", ""),
                input_data=json.loads(form.get("input_data", "")),
                compute_requirements=Requirements.model_validate(
                    {"max_execution_time": form.get("max_execution_time", "300")}
                ),
            )
            once = form.get("once", "")[:100]
            made = await self._api.desk.create(key, wanted, "page:" + once if once else None)
        except ValueError:  # JSON's and pydantic's, too
            text = "The input must be a JSON object, the time a number of seconds from 1 to 86400."
            return await self._list(key, 1, problem=text, wanted=form, status=422)
        except (Problem, ProviderError) as error:
            return await self._refused(key, error, form)
        return _back(f"/tasks/{made.id}")

    async def cancel(self, request: Request, task_id: str) -> Response:
        return await self._ask(request, task_id, self._api.asks.cancel)

    async def confirm(self, request: Request, task_id: str) -> Response:
        return await self._ask(request, task_id, self._api.asks.confirm)

    async def _ask(self, request: Request, task_id: str, what: Callable[[Order], Awaitable[Order]]) -> Response:
        key = await self._writes(request)
        try:
            await what(await self._api.own(key, task_id))
        except (Problem, ProviderError) as error:
            return await self._refused(key, error)
        return _back(f"/tasks/{task_id}")

    async def _refused(
        self, key: ApiKey, error: Problem | ProviderError, form: dict[str, str] | None = None
    ) -> Response:
        problem = error if isinstance(error, Problem) else problem_of(error)
        return await self._list(key, 1, problem=problem.detail, wanted=form, status=problem.status)

    async def sign_in(self, request: Request) -> Response:
        """With an API key, or with the token that a wallet's signature gave."""
        if not from_our_page(request):
            raise Problem(403, "auth.other_site", "sign in on the page itself")
        try:
            await self._api.rates.sign_in(sender_of(request))
            text = (await _form(request)).get("key", "").strip()
            key = self._reads.allowed(await self._reads.who(request, f"Bearer {text}"))
        except Problem as problem:
            return _shown(
                "sign_in.html", status=problem.status, problem="This key is not known here, or it may not read."
            )
        token = text if text.startswith(SESSION_PREFIX) else (await self._api.signin.session(key))[0]
        answer = _back()
        answer.set_cookie(
            COOKIE, token, max_age=int(SESSION_S), httponly=True, samesite="strict", secure=self._api.secure
        )
        return answer

    async def sign_out(self, request: Request) -> Response:
        await self._api.store.sign_out(digest(request.cookies.get(COOKIE, "")))
        answer = _back()
        answer.delete_cookie(COOKIE)
        return answer

    async def style(self) -> Response:
        return Response(_file("page.css"), media_type="text/css")

    async def script(self) -> Response:
        return Response(_file("page.js"), media_type="text/javascript")

    async def _reader(self, request: Request) -> ApiKey | None:
        try:
            return await self._reads(request)
        except Problem:
            return None

    async def _list(
        self, key: ApiKey, page: int, *, problem: str = "", wanted: dict[str, str] | None = None, status: int = 200
    ) -> Response:
        store, currency = self._api.store, self._api.currency
        found, total = await store.orders(key.id, offset=(page - 1) * LIMIT, limit=LIMIT)
        return _shown(
            "tasks.html",
            status=status,
            tasks=[task_document(one, currency) for one in found],
            models=[model_document(one, currency) for one in await store.models()],
            page=page,
            limit=LIMIT,
            total=total,
            problem=problem,
            wanted=wanted or {},
            once=secrets.token_hex(12),  # the same form sent twice is one task
            name=key.name,
        )


async def _form(request: Request) -> dict[str, str]:
    """Raises Problem 413 and 400."""
    body = await request.body()
    if len(body) > FORM_BYTES:
        raise Problem(413, "request.too_large", "the form is too large")
    try:
        return dict(parse_qsl(body.decode(), max_num_fields=20))
    except ValueError as error:
        raise Problem(400, "request.malformed", "this is no form") from error


def _back(place: str = "/") -> RedirectResponse:
    return RedirectResponse(place, 303)


def _shown(template: str, *, status: int = 200, **values: Any) -> Response:
    headers = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-store"}
    return HTMLResponse(_pages().get_template(template).render(**values), status, headers)


@cache
def _pages() -> jinja2.Environment:
    made = jinja2.Environment(loader=jinja2.PackageLoader("ogpu_provider.gateway", "pages"), autoescape=True)
    made.filters["moment"] = lambda at: datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return made


@cache
def _file(name: str) -> bytes:
    return resources.files("ogpu_provider.gateway").joinpath("pages", name).read_bytes()
