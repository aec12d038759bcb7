"""Fetching URLs that somebody else chose: metadata, compose files, task configs.

Every URL, also after a redirect, is checked; the name is resolved once, every answer must be public, and the
connection goes to an address that was checked, with Host header, SNI and certificate check for the name. Redirects
are followed by us. Proxies and other settings of the environment are not looked at.
"""

import asyncio
import ssl
import zlib
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import urljoin

import httpcore
import httpx

from ogpu_provider.domain.errors import FetchError, Retry
from ogpu_provider.ipfs.transport import CheckedTransport, Resolve, check_url, refused, resolve


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """Times in seconds."""

    connect_s: float = 5.0
    redirects: int = 3
    connections: int = 20
    url_length: int = 2048


class Fetcher:
    """A pooled client for untrusted URLs; open it once, use it from many tasks, close it at the end.

    `allow_private` is for a local network only: it also lifts the limit to ports 80 and 443. `places` are exceptions to
    that limit alone, as host:port: their addresses are checked like any other's. `resolve` turns a name
    into addresses, `verify` says which certificates are trusted (certifi's), `backend` opens the sockets.
    """

    def __init__(
        self,
        limits: FetchLimits | None = None,
        *,
        allow_private: bool = False,
        places: Collection[str] = (),
        resolve: Resolve = resolve,
        verify: ssl.SSLContext | None = None,
        backend: httpcore.AsyncNetworkBackend | None = None,
    ) -> None:
        self._limits = limits or FetchLimits()
        self._places = frozenset(places)
        self._allow_private = allow_private
        transport = CheckedTransport(
            allow_private=allow_private,
            connections=self._limits.connections,
            resolve=resolve,
            verify=verify,
            backend=backend,
        )
        timeout = httpx.Timeout(None, connect=self._limits.connect_s)  # the rest is one budget per call
        self._client = httpx.AsyncClient(transport=transport, trust_env=False, follow_redirects=False, timeout=timeout)

    @property
    def allows_private(self) -> bool:
        """Whether this is the fetcher of a local network."""
        return self._allow_private

    @property
    def places(self) -> frozenset[str]:
        """Where it may use other ports."""
        return self._places

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._client.aclose()

    async def get(
        self, url: str, *, limit_bytes: int, timeout_s: float = 30.0, headers: Mapping[str, str] | None = None
    ) -> bytes:
        """The body of a 200 answer, decoded, at most `limit_bytes` long, all within `timeout_s`.

        `headers` are sent to the URL itself and not to where it redirects.

        Raises FetchError: fetch.bad_url, fetch.forbidden_address, fetch.redirects, fetch.too_large, fetch.encoding
        and fetch.status (4xx) are final; fetch.unreachable, fetch.timeout and fetch.status (408, 425, 429, 5xx)
        may be tried again.
        """
        try:
            async with asyncio.timeout(timeout_s):
                return await self._follow(url, limit_bytes, headers or {})
        except (TimeoutError, httpx.TimeoutException, httpcore.TimeoutException) as error:
            raise FetchError(
                f"no complete answer within {timeout_s:g} s", code="fetch.timeout", retry=Retry.LATER
            ) from error
        except (httpx.HTTPError, httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            raise FetchError(
                f"could not be reached ({type(error).__name__})", code="fetch.unreachable", retry=Retry.LATER
            ) from error
        except ValueError as error:  # of what reads a redirect's target: httpx too, though it follows none
            raise refused("fetch.bad_url", "redirected to what is not a URL") from error

    async def _follow(self, url: str, limit: int, headers: Mapping[str, str]) -> bytes:
        for _ in range(self._limits.redirects + 1):
            check_url(url, length=self._limits.url_length, allow_private=self._allow_private, places=self._places)
            async with self._client.stream(
                "GET", url, headers={**headers, "Accept-Encoding": "gzip", "User-Agent": "ogpu-provider"}
            ) as answer:
                if not answer.has_redirect_location:
                    return await _body(answer, limit)
                target = urljoin(url, answer.headers["Location"])
            if url.startswith("https:") and not target.startswith("https:"):
                raise refused("fetch.redirects", "redirected from https to something else")
            url, headers = target, {}
        raise refused("fetch.redirects", f"more than {self._limits.redirects} redirects")


async def _body(answer: httpx.Response, limit: int) -> bytes:
    if answer.status_code != 200:
        later = answer.status_code in (408, 425, 429) or answer.status_code >= 500
        error = FetchError(
            f"answered HTTP {answer.status_code}",
            code="fetch.status",
            retry=Retry.LATER if later else Retry.NEVER,
        )
        error.status, error.challenge = answer.status_code, answer.headers.get("WWW-Authenticate", "")
        raise error
    encoding = answer.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip"):
        raise refused("fetch.encoding", f"content encoding {encoding[:40]!r} was not asked for")
    length = answer.headers.get("Content-Length", "")
    if length.isdecimal() and int(length) > limit:
        raise _too_large(limit)
    chunks = answer.aiter_raw()
    return await (_gunzip(chunks, limit) if encoding == "gzip" else _read(chunks, limit))


async def _read(chunks: AsyncIterator[bytes], limit: int) -> bytes:
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > limit:
            raise _too_large(limit)
    return bytes(body)


async def _gunzip(chunks: AsyncIterator[bytes], limit: int) -> bytes:
    """Never holds more than `limit` decoded bytes, however well they were packed."""
    body, decoder = bytearray(), zlib.decompressobj(wbits=31)
    try:
        async for chunk in chunks:
            body += decoder.decompress(chunk, limit - len(body) + 1)
            if len(body) > limit or decoder.unconsumed_tail:
                raise _too_large(limit)
    except zlib.error as error:
        raise refused("fetch.encoding", "the gzip stream is damaged") from error
    if decoder.unused_data:
        raise refused("fetch.encoding", "something follows the gzip stream")
    if not decoder.eof:
        raise FetchError("the gzip stream is cut", code="fetch.unreachable", retry=Retry.LATER)
    return bytes(body)


def _too_large(limit: int) -> FetchError:
    return refused("fetch.too_large", f"more than {limit} bytes")
