"""POSTs to a stranger's endpoint: a checked address, no redirect, a budget of time, the answer's status only."""

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import httpcore
import httpx

from ogpu_provider.domain.addresses import is_public, may_be_public
from ogpu_provider.domain.errors import FetchError, Retry
from ogpu_provider.ipfs.transport import CheckedTransport, Resolve, check_url, refused, resolve

TIME_S = 15.0
VET_S = 3.0


class Poster:
    """Open it once, use it from many tasks, close it at the end. `allow_private` is for a local network only."""

    def __init__(
        self,
        *,
        allow_private: bool = False,
        resolve: Resolve = resolve,
        backend: httpcore.AsyncNetworkBackend | None = None,
    ) -> None:
        self._allow_private = allow_private
        self._resolve = resolve
        self._client = httpx.AsyncClient(
            transport=CheckedTransport(allow_private=allow_private, connections=100, resolve=resolve, backend=backend),
            trust_env=False,
            follow_redirects=False,
            timeout=httpx.Timeout(None),  # one budget per call
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    def check(self, url: str) -> None:
        """What can be said of a URL without asking for its name. Raises FetchError."""
        check_url(url, allow_private=self._allow_private)
        host = httpx.URL(url).host
        if not self._allow_private and not may_be_public(f"[{host}]" if ":" in host else host):
            raise refused("fetch.forbidden_address", "the URL leads to an address that is not public")

    async def vet(self, url: str) -> None:
        """`check`, and what its name resolves to now; a name without an answer may have one later.

        Raises FetchError.
        """
        self.check(url)
        host = httpx.URL(url).host
        try:
            async with asyncio.timeout(VET_S):
                found = await self._resolve(host, 443)
        except (OSError, TimeoutError):
            return
        if not self._allow_private and not all(is_public(address) for address in found):
            raise refused("fetch.forbidden_address", "the URL leads to an address that is not public")

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, float]:
        """Status, and the seconds that Retry-After asks for (0 for none). The answer's body is not read.

        Raises FetchError fetch.bad_url, fetch.forbidden_address, fetch.unreachable, fetch.timeout.
        """
        self.check(url)
        request = self._client.build_request(
            "POST", url, content=body, headers={"User-Agent": "ogpu-provider", **headers}
        )
        try:
            async with asyncio.timeout(TIME_S):
                answer = await self._client.send(request, stream=True)
                await answer.aclose()
        except (TimeoutError, httpx.TimeoutException, httpcore.TimeoutException) as error:
            text = f"no answer within {TIME_S:g} s"
            raise FetchError(text, code="fetch.timeout", retry=Retry.LATER) from error
        except (httpx.HTTPError, httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            raise FetchError("could not be reached", code="fetch.unreachable", retry=Retry.LATER) from error
        except ValueError as error:  # httpx reads a redirect's target, though nobody follows it
            raise refused("fetch.bad_url", "redirected to what is not a URL") from error
        asked = answer.headers.get("Retry-After", "")
        return answer.status_code, float(asked) if asked.isdecimal() and len(asked) < 7 else 0.0
