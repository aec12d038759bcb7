"""The few lines of JSON-RPC that setting up a local node takes."""

import itertools
from types import TracebackType
from typing import Any, Self

import httpx

from ogpu_provider.domain.errors import DevnetError


class JsonRpc:
    """One HTTP endpoint of the local node. An async context manager; every failure is a DevnetError."""

    def __init__(self, url: str, *, timeout: float = 30.0) -> None:
        self._client = httpx.AsyncClient(base_url=url, timeout=timeout, trust_env=False)
        self._ids = itertools.count(1)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def call(self, method: str, *params: Any) -> Any:
        """The result of one call. `devnet.reverted` when the chain refused it, `devnet.rpc` otherwise."""
        request = {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params}
        try:
            response = await self._client.post("", json=request)
            answer = response.raise_for_status().json()
        except (httpx.HTTPError, ValueError) as failure:
            raise DevnetError(f"{method}: {failure!r}", code="devnet.rpc") from failure
        if "error" in answer:
            message = str(answer["error"].get("message", answer["error"]))
            reverted = "revert" in message or "panic" in message.lower()
            raise DevnetError(f"{method}: {message}", code="devnet.reverted" if reverted else "devnet.rpc")
        return answer["result"]
