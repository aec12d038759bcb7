"""The Tasks API as one application: its routes, its refusals, and what is counted of it."""

import time
from typing import Any

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ogpu_provider import __version__
from ogpu_provider.gateway import problems, refusals
from ogpu_provider.gateway.metrics import Metrics
from ogpu_provider.gateway.problems import Problem
from ogpu_provider.gateway.routes import auth, models, orders, page, tasks, told
from ogpu_provider.gateway.routes.context import Api

_SAFE = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
)
_ABOUT = """The OpenGPU network over plain HTTP: name a model, send input, read the result or be told of it.

Errors are problem details (RFC 9457) with a stable `code`. Amounts are in coin, times in unix seconds."""


class TasksApi(FastAPI):
    """Refuses a body that says itself that it is too large as everything is refused; the library has a plain text."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            length = Headers(scope=scope).get("content-length", "")
            if length.isdecimal() and self.body_limit is not None and int(length) > self.body_limit:
                answer = Problem(413, "request.too_large", f"at most {self.body_limit} bytes").response()
                await answer(scope, receive, send)
                return
        await super().__call__(scope, receive, send)

    body_limit: int | None = None


def create_app(api: Api, *, body_limit: int) -> FastAPI:
    """`body_limit` in bytes, as for `max_body_size`."""
    app = TasksApi(
        title="OGPU Tasks API",
        version=__version__,
        description=_ABOUT,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        max_body_size=body_limit,
        redirect_slashes=False,
    )
    app.body_limit = body_limit
    refusals.install(app)
    for part in (models, tasks, orders, auth, page):
        part.add(app, api)
    told.add(app)
    app.add_middleware(_Counted, metrics=api.metrics)
    app.openapi_schema = _described(app)
    return app


def openapi() -> dict[str, Any]:
    """The OpenAPI 3.1 document, without a gateway."""
    nothing: Any = None
    api = Api(nothing, nothing, nothing, nothing, nothing, nothing, nothing, Metrics(), nothing, "", False)
    return create_app(api, body_limit=1).openapi()


def _described(app: FastAPI) -> dict[str, Any]:
    """With the schema of refusals, and how to prove who asks."""
    document = app.openapi()
    parts = document.setdefault("components", {})
    parts.setdefault("schemas", {})["Problem"] = problems.SCHEMA
    parts["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer", "description": "API key or sign-in token."}}
    for path, item in document["paths"].items():
        for operation in item.values():
            operation["security"] = [] if path.startswith("/api/auth/") else [{"key": []}]
    return document


class _Counted:
    """Counts answers by route, and adds the headers that every answer has. Plain ASGI: streams pass untouched."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_SAFE]
                route = getattr(scope.get("route"), "path", "none")
                self._metrics.answered(scope["method"], route, message["status"], time.perf_counter() - started)
            await send(message)

        await self._app(scope, receive, counted)
