"""What the API says when it says no: RFC 9457 problem details with stable codes."""

from collections.abc import Mapping
from typing import Any

import structlog
from starlette.responses import JSONResponse

from ogpu_provider.domain.errors import ProviderError

log = structlog.get_logger(__name__)
MEDIA_TYPE = "application/problem+json"
MEANINGS = {
    400: "not readable as a request",
    401: "no valid key",
    402: "balance or budget",
    403: "the key has no such scope",
    404: "not there",
    406: "no such format of this result",
    409: "not in this state",
    413: "too large",
    422: "not valid",
    429: "too many; Retry-After says when",
    500: "a defect of the gateway",
    503: "not now; Retry-After says when",
}
SCHEMA: dict[str, Any] = {
    "title": "Problem",
    "type": "object",
    "description": "Problem details (RFC 9457).",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "Stable: for programs."},
        "detail": {"type": "string", "description": "For people."},
        "errors": {"type": "array", "items": {"type": "object"}},
    },
}


class Problem(Exception):
    """`code` is stable; `detail` is for people."""

    def __init__(self, status: int, code: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})

    def response(self, **more: Any) -> JSONResponse:
        body = {"type": f"urn:ogpu:problem:{self.code}", "title": self.code.replace(".", " ").replace("_", " ")}
        body |= {"status": self.status, "code": self.code, "detail": self.detail, **more}  # type: ignore[dict-item]
        return JSONResponse(body, self.status, self.headers, MEDIA_TYPE)


def problem_of(error: ProviderError) -> Problem:
    """What a failure behind the API is to its user: mostly, that it does not work now."""
    match error.code:
        case "gateway.reused_key":
            return Problem(422, "idempotency.reused", str(error))
        case "gateway.budget":
            return Problem(402, "payment.budget", str(error))
        case "store.stale":
            return Problem(409, "task.moved", "the task has just changed; read it again")
    log.warning("gateway_cannot_now", code=error.code, error=str(error))
    return Problem(503, "unavailable", "the gateway cannot do this now; try again", {"Retry-After": "5"})
