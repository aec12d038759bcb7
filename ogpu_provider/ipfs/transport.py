"""Connections to URLs that somebody else chose: which are bearable, and to which addresses they may go.

The name is resolved once, every answer must be public, and the connection goes to an address that was checked, with
Host header, SNI and certificate check for the name. Proxies of the environment are not looked at.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable
from typing import Any

import anyio
import httpcore
import httpx

from ogpu_provider.domain.addresses import is_public
from ogpu_provider.domain.errors import FetchError, Retry

Resolve = Callable[[str, int], Awaitable[list[str]]]
URL_LENGTH = 2048


async def resolve(host: str, port: int) -> list[str]:
    """Every address of a name, in the order of the system's preference. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def check_url(url: str, *, length: int = URL_LENGTH, allow_private: bool = False, places: Collection[str] = ()) -> None:
    """Raises FetchError fetch.bad_url. What its name resolves to is checked by whoever connects.

    `places`: host:port where another port than 80 and 443 is meant.
    """
    if len(url) > length or not url.isascii() or not url.isprintable() or " " in url:
        raise refused("fetch.bad_url", "not a plain URL of bearable length")
    try:
        parsed = httpx.URL(url)  # the parser that the connection uses; a second one could read it otherwise
        host = parsed.host
        parsed.raw_host.decode().encode("idna")  # as a resolver spells it: no label may be empty or too long
    except (httpx.InvalidURL, UnicodeError) as error:
        raise refused("fetch.bad_url", "not a URL") from error
    if parsed.scheme not in ("http", "https") or not host:
        raise refused("fetch.bad_url", "only http and https URLs are fetched")
    if parsed.userinfo:
        raise refused("fetch.bad_url", "a URL with a user name or password is not fetched")
    if parsed.port not in (None, 80, 443) and f"{host}:{parsed.port}" not in places and not allow_private:
        raise refused("fetch.bad_url", f"port {parsed.port} is not fetched from")


class _CheckedNetwork(httpcore.AsyncNetworkBackend):
    """Connects to names only through addresses that passed the check; so no check can be raced by DNS."""

    def __init__(self, resolve: Resolve, allow_private: bool, backend: httpcore.AsyncNetworkBackend) -> None:
        self._resolve = resolve
        self._allow_private = allow_private
        self._backend = backend

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        addresses = await self._addresses(host, port)
        for left, address in zip(reversed(range(len(addresses))), addresses, strict=True):
            try:
                return await self._backend.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if not left:
                    raise
        raise httpcore.ConnectError("the name has no address")

    async def _addresses(self, host: str, port: int) -> list[str]:
        addresses = await self._resolve(host, port)
        if not self._allow_private and not all(is_public(address) for address in addresses):
            raise refused("fetch.forbidden_address", "the URL leads to an address that is not public")
        return addresses

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.AsyncNetworkStream:
        raise httpcore.ConnectError("no sockets of the host")

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)


class CheckedTransport(httpx.AsyncBaseTransport):
    """For an httpx client that speaks to strangers: with `trust_env=False`, and redirects followed by its user or not.

    httpx over a pool of our own, because httpx offers no way to give its pool a network backend. `allow_private` is
    for a local network only. `resolve` turns a name into addresses, `verify` says which certificates are trusted
    (certifi's), `backend` opens the sockets. A request raises FetchError fetch.forbidden_address beside httpx's own.
    """

    def __init__(
        self,
        *,
        allow_private: bool = False,
        connections: int = 20,
        resolve: Resolve = resolve,
        verify: ssl.SSLContext | None = None,
        backend: httpcore.AsyncNetworkBackend | None = None,
    ) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=verify or httpx.create_ssl_context(trust_env=False),
            max_connections=connections,
            keepalive_expiry=30.0,
            network_backend=_CheckedNetwork(resolve, allow_private, backend or httpcore.AnyIOBackend()),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert isinstance(request.stream, httpx.AsyncByteStream)
        answer = await self._pool.handle_async_request(
            httpcore.Request(
                method=request.method,
                url=httpcore.URL(
                    scheme=request.url.raw_scheme,
                    host=request.url.raw_host,
                    port=request.url.port,
                    target=request.url.raw_path,
                ),
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        return httpx.Response(
            answer.status, headers=answer.headers, stream=_Stream(answer), extensions=answer.extensions
        )

    async def aclose(self) -> None:
        await self._pool.aclose()


class _Stream(httpx.AsyncByteStream):
    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._answer.aiter_stream():
            yield chunk

    async def aclose(self) -> None:
        await self._answer.aclose()


def refused(code: str, message: str) -> FetchError:
    return FetchError(message, code=code, retry=Retry.NEVER)
