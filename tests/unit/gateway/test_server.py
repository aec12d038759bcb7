"""A request is received whole within a time, or its connection is cut."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ogpu_provider.domain.errors import ConfigError
from ogpu_provider.gateway.access import from_our_page
from ogpu_provider.gateway.address import bound
from ogpu_provider.gateway.server import HEADER_LIMIT, listen

HEAD = b"POST /take HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n"
WHOLE = b"POST /take HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nok"


async def take(request: Request) -> Response:
    body = await request.body()
    await asyncio.sleep(0.5)  # an answer may take longer than a request
    return Response(body)


@asynccontextmanager
async def listening(receive_s: float) -> AsyncIterator[int]:
    at = bound("127.0.0.1", 0)
    app = Starlette(routes=[Route("/take", take, methods=["POST"])])
    serving = asyncio.create_task(listen(app, at, body_limit=64 << 10, receive_s=receive_s))
    yield at.getsockname()[1]
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)


@pytest_asyncio.fixture
async def port() -> AsyncIterator[int]:
    async with listening(0.3) as port:
        yield port


@pytest_asyncio.fixture
async def patient() -> AsyncIterator[int]:
    async with listening(600) as port:
        yield port


@pytest.mark.parametrize("begin", [b"", HEAD[:22], HEAD], ids=["nothing", "half a head", "half a body"])
async def test_who_drips_is_cut(port: int, begin: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(begin)
    cut = asyncio.create_task(reader.read())
    while not cut.done():
        if begin:
            writer.write(b"x")
        await asyncio.sleep(0.05)
    with contextlib.suppress(ConnectionError):
        assert cut.result() == b""
    writer.close()


@pytest.mark.parametrize(
    "parts",
    [
        [b"GET /" + b"a" * HEADER_LIMIT + b" HTTP/1.1\r\nHost: h\r\n\r\n"],
        [b"GET /take HTTP/1.1\r\nHost: h\r\n", *[b"X-%d: %s\r\n" % (n, b"a" * 1000) for n in range(20)], b"\r\n"],
        [b"GET /take HTTP/1.1\r\nHost: h\r\nX: ", *[b"a" * 1000] * 20],
        [b"POST /take HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ", *[b"a" * 10_000] * 50],
    ],
    ids=["path", "many fields", "a field without an end", "a trailer without an end"],
)
async def test_a_header_has_an_end(patient: int, parts: list[bytes]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", patient)
    with contextlib.suppress(ConnectionError):
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)
    with contextlib.suppress(ConnectionError):
        assert (await asyncio.wait_for(reader.read(), 60)).startswith(b"HTTP/1.1 400")
    writer.close()


async def test_nobody_is_served_a_websocket(patient: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", patient)
    asked = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n"
    writer.write(b"GET /take HTTP/1.1\r\nHost: h\r\n" + asked + b"\r\n")
    assert (await asyncio.wait_for(reader.readline(), 60)).startswith(b"HTTP/1.1 405")
    writer.close()


async def test_one_connection_takes_one_request_after_the_other(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(2):
        writer.write(WHOLE)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
        assert head.startswith(b"HTTP/1.1 200")
        assert await reader.readexactly(2) == b"ok"
        await asyncio.sleep(0.5)  # idle between two requests
    writer.close()


def test_an_address_that_is_taken_is_named_with_a_remedy() -> None:
    with bound("127.0.0.1", 0) as taken, pytest.raises(ConfigError) as refused:
        bound("127.0.0.1", taken.getsockname()[1])
    assert (refused.value.code, "gateway.port" in refused.value.remedy) == ("gateway.address", True)


@pytest.mark.parametrize(
    ("headers", "ours"),
    [
        ({}, False),
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "cross-site", "origin": "http://api.example"}, False),
        ({"origin": "http://api.example"}, True),  # plain HTTP: no Fetch Metadata
        ({"origin": "http://evil.example"}, False),
        ({"origin": "null"}, False),
    ],
)
def test_a_cookie_writes_from_our_own_page_only(headers: dict[str, str], ours: bool) -> None:
    raw = [(name.encode(), value.encode()) for name, value in ({"host": "api.example"} | headers).items()]
    assert from_our_page(Request({"type": "http", "method": "POST", "headers": raw})) is ours
