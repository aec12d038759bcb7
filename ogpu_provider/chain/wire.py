"""JSON-RPC 2.0 as values: answers, their errors, and what is safe to conclude from them. Pure."""

import math
from collections.abc import Mapping
from typing import Any

from ogpu_provider.domain.errors import Retry, RpcRejected, RpcUnavailable

Call = tuple[str, tuple[Any, ...]]
"""A method and its positional parameters."""

_HOPELESS = frozenset({3, -32600, -32601, -32602})  # reverted with a reason, or a request that will never be understood
_BUSY = frozenset({429, -32097, -32016})  # rate limits of hosted nodes: nobody looked at the request


class JsonRpcError(RpcRejected):
    """The node understood and said no. `rpc_code` and `data` are the node's, untranslated."""

    def __init__(self, method: str, rpc_code: int, message: str, data: object = None) -> None:
        retry = Retry.NEVER if rpc_code in _HOPELESS else Retry.LATER
        super().__init__(f"{method}: {message} ({rpc_code})", retry=retry)
        self.rpc_code = rpc_code
        self.data = data


class Busy(RpcUnavailable):
    """Nobody looked at the request. `retry_after` in seconds, None where the node does not say."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


def retry_after(value: str | None) -> float | None:
    """The seconds of a Retry-After header, at most an hour; None for a date or anything else."""
    try:
        seconds = float(value) if value is not None else math.nan
    except ValueError:
        return None
    return min(max(seconds, 0.0), 3600.0) if math.isfinite(seconds) else None


def outcome(method: str, answer: object) -> Any | JsonRpcError:
    """The result in an answer, or the error that it is. Raises RpcUnavailable if it is not a JSON-RPC answer."""
    if not isinstance(answer, Mapping):
        raise RpcUnavailable(f"{method}: the answer is not JSON-RPC")
    error = answer.get("error")
    if error is not None:
        fields: Mapping[str, Any] = error if isinstance(error, Mapping) else {"message": error}
        code = fields.get("code")
        code = code if isinstance(code, int) else 0
        message = str(fields.get("message", ""))[:300]
        if code in _BUSY:
            raise Busy(f"{method}: the node is busy: {message} ({code})")
        return JsonRpcError(method, code, message, fields.get("data"))
    if "result" not in answer:
        raise RpcUnavailable(f"{method}: the answer has neither result nor error")
    return answer["result"]
