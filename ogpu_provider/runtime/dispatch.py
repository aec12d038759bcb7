"""HTTP to a source's container: is it there, what does it offer, take this input."""

from typing import Final
from urllib.parse import quote

import httpx

from ogpu_provider.domain.errors import DispatchError, EngineError, Retry
from ogpu_provider.domain.units import Address
from ogpu_provider.runtime.contract import MAX_DOCUMENT, OpenApiContract

_BUSY: Final = frozenset({409, 429, 503})
_KEEP_ALIVE_SECONDS = 3.0
"""Below the 5 s after which the container's server closes an idle connection, so that no call meets a closed one."""
_EXCERPT = 300


class SourceClient:
    """One connection pool for all sources. `seconds` bounds every single read and write."""

    def __init__(self, host: str = "127.0.0.1", seconds: float = 15.0) -> None:
        self._host = host
        self._http = httpx.AsyncClient(
            trust_env=False,
            follow_redirects=False,
            timeout=httpx.Timeout(seconds, connect=3.0),
            limits=httpx.Limits(
                max_connections=256, max_keepalive_connections=64, keepalive_expiry=_KEEP_ALIVE_SECONDS
            ),
        )

    async def contract(self, port: int) -> OpenApiContract | None:
        """None while nothing answers as it should; EngineError if the answer is no usable document."""
        body = bytearray()
        try:
            async with self._http.stream("GET", f"{self._url(port)}/openapi.json") as response:
                if response.status_code != 200:
                    return None
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > MAX_DOCUMENT:
                        raise EngineError("the container's openapi.json is too long", code="engine.bad_contract")
        except httpx.HTTPError:
            return None
        return OpenApiContract(bytes(body))

    async def run(self, port: int, function: str, task: Address, data: str) -> None:
        """Hand over an input; returns on 202 (any 2xx).

        Raises DispatchError: dispatch.rejected (4xx, never), dispatch.busy (409, 429, 503: later), dispatch.failed
        (other 5xx), dispatch.unreachable (not sent), dispatch.unanswered (sent, no answer: it may be at work).
        """
        url = f"{self._url(port)}/run/{quote(function, safe='')}/{quote(task, safe='')}"
        try:
            async with self._http.stream(
                "POST", url, content=data.encode(), headers={"content-type": "application/json"}
            ) as response:
                if response.is_success:
                    return
                raise _refusal(response.status_code, await _excerpt(response))
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            text = f"the container does not answer: {error or type(error).__name__}"
            raise DispatchError(text, code="dispatch.unreachable", retry=Retry.LATER) from error
        except httpx.HTTPError as error:
            text = f"the container took the call and did not answer: {error or type(error).__name__}"
            raise DispatchError(text, code="dispatch.unanswered", retry=Retry.LATER) from error

    async def aclose(self) -> None:
        await self._http.aclose()

    def _url(self, port: int) -> str:
        return f"http://{self._host}:{port}"


def _refusal(status: int, excerpt: str) -> DispatchError:
    text = f"the container answered {status}: {excerpt}"
    if status in _BUSY:
        return DispatchError(text, code="dispatch.busy", retry=Retry.LATER)
    if status >= 500:
        return DispatchError(text, code="dispatch.failed", retry=Retry.LATER)
    return DispatchError(text, code="dispatch.rejected", retry=Retry.NEVER)


async def _excerpt(response: httpx.Response) -> str:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > _EXCERPT:
            break
    text = bytes(body[:_EXCERPT]).decode(errors="replace")
    return "".join(c if c.isprintable() else " " for c in text)
