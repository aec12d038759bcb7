"""Serve one handler file without a container: a stand-in for `ogpu.service`, run as a child by `processes`.

    python standin.py main.py PORT

Has the routes, status codes and callback of the real framework, on loopback. Imports nothing of this package, so that
the child sees only the handler and these libraries. Ends when its standard input ends: with its parent.
"""

import asyncio
import json
import logging
import os
import runpy
import sys
import threading
import types
import urllib.request
from collections.abc import Callable
from typing import Any, get_type_hints

import uvicorn
from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

Handler = Callable[[Any], Any]
_handlers: dict[str, tuple[Handler, type[BaseModel]]] = {}
_inits: list[Callable[[], None]] = []


def expose(timeout: float | None = None) -> Callable[[Handler], Handler]:
    """Register a handler; with `timeout` (seconds) a late result is not sent."""

    def register(handler: Handler) -> Handler:
        hints = get_type_hints(handler)
        (name,) = (each for each in hints if each != "return")
        _handlers[handler.__name__] = (_timed(handler, timeout) if timeout else handler, hints[name])
        return handler

    return register


def init() -> Callable[[Callable[[], None]], Callable[[], None]]:
    def register(function: Callable[[], None]) -> Callable[[], None]:
        _inits.append(function)
        return function

    return register


def start() -> None:
    for function in _inits:
        function()
    routes = [Route("/openapi.json", _openapi)]
    routes += [
        Route(f"/run/{name}/{{task_address}}", _endpoint(name, handler, model), methods=["POST"])
        for name, (handler, model) in _handlers.items()
    ]
    uvicorn.run(Starlette(routes=routes), host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")


def _timed(handler: Handler, seconds: float) -> Handler:
    def run(data: Any) -> Any:
        result: list[Any] = [None]
        thread = threading.Thread(target=lambda: result.__setitem__(0, handler(data)), daemon=True)
        thread.start()
        thread.join(seconds)
        return result[0]

    return run


def _endpoint(name: str, handler: Handler, model: type[BaseModel]) -> Callable[[Request], Any]:
    def run(task: str, data: BaseModel) -> None:
        try:
            if result := handler(data):
                print(f"[{task}] Function: `{name}` completed successfully", flush=True)
                _post(task, result.model_dump())
        except Exception as error:  # like the framework: logged, and nothing is sent
            print(f"[{task}] Error in `{name}`: {error}", flush=True)

    async def endpoint(request: Request) -> Response:
        task = request.path_params["task_address"]
        try:
            data = model.model_validate_json(await request.body())
        except ValidationError as error:
            return JSONResponse({"detail": json.loads(error.json())}, status_code=422)
        background = BackgroundTask(asyncio.to_thread, run, task, data)
        return JSONResponse({"task_address": task, "status": "accepted"}, status_code=202, background=background)

    return endpoint


def _post(task: str, result: Any) -> None:
    url = os.environ.get("CALLBACK_URL")
    if url:
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(f"{url}/{task}", json.dumps(result).encode(), headers)  # noqa: S310 - ours
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
            print(f"[{task}] callback answered {answer.status}", flush=True)


async def _openapi(_request: Request) -> Response:
    schemas: dict[str, Any] = {}
    paths: dict[str, Any] = {}
    for name, (_handler, model) in _handlers.items():
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(schema.pop("$defs", {}))
        schemas[model.__name__] = schema
        content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}}
        post = {"requestBody": {"content": content, "required": True}, "responses": {"202": {"description": "taken"}}}
        paths[f"/run/{name}/{{task_address}}"] = {"post": post}
    info = {"title": "OpenGPU Service", "version": "0.1.0"}
    return JSONResponse({"openapi": "3.1.0", "info": info, "paths": paths, "components": {"schemas": schemas}})


def _end_with_parent() -> None:
    while os.read(0, 4096):  # not through sys.stdin: its lock would abort an interpreter that ends by itself
        pass
    os._exit(0)


def main() -> None:
    package, service = types.ModuleType("ogpu"), types.ModuleType("ogpu.service")
    for name, value in (
        ("expose", expose),
        ("init", init),
        ("start", start),
        ("logger", logging.getLogger("ogpu.service")),
    ):
        setattr(service, name, value)
    package.service = service  # type: ignore[attr-defined]
    sys.modules.update({"ogpu": package, "ogpu.service": service})
    threading.Thread(target=_end_with_parent, daemon=True).start()
    runpy.run_path(sys.argv[1], run_name="__main__")


if __name__ == "__main__":
    main()
