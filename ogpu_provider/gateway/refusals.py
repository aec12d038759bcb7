"""Whatever goes wrong in a request is answered as a problem."""

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from ogpu_provider.domain.errors import ProviderError
from ogpu_provider.gateway.problems import Problem, problem_of

log = structlog.get_logger(__name__)
_CODES = {400: "request.malformed", 404: "not_found", 405: "method.not_allowed", 413: "request.too_large"}


def _no_json(request: Request, error: RequestValidationError) -> Problem | None:
    """The body is no JSON, or does not say that it is: one that is sent as a form is not read at all."""
    for one in error.errors():
        if one["type"] == "json_invalid":
            return Problem(400, "request.malformed", f"the body is no JSON, at character {one['loc'][-1]}")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    unread = any(one["loc"] == ("body",) and one["type"] != "missing" for one in error.errors())
    if unread and not kind.endswith("json"):
        return Problem(400, "request.malformed", "the body is to be JSON, with Content-Type: application/json")
    return None


def install(app: FastAPI) -> None:
    """Answer every error as a problem; an unexpected one without its text."""

    async def known(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, Problem)
        return error.response()

    async def behind(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, ProviderError)
        return problem_of(error).response()

    async def invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        if problem := _no_json(request, error):
            return problem.response()
        places = [{"at": ".".join(map(str, one["loc"])), "message": one["msg"]} for one in error.errors()]
        return Problem(422, "request.invalid", "the request is not what this path takes").response(errors=places)

    async def plain(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        code = _CODES.get(error.status_code, "request.refused")
        return Problem(error.status_code, code, str(error.detail), error.headers).response()

    async def bug(_: Request, error: Exception) -> JSONResponse:
        log.error("gateway_request_failed", exc_info=error)
        return Problem(500, "internal", "something went wrong here; it is in the log").response()

    app.add_exception_handler(Problem, known)
    app.add_exception_handler(ProviderError, behind)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, plain)
    app.add_exception_handler(Exception, bug)
