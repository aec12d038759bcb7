"""A request is received whole within a time, or its connection is cut."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ogpu_provider.domain.errors import ConfigError
from ogpu_provider.gateway.access import from_our_page
from ogpu_provider.gateway.address import bound
from ogpu_provider.gateway.server import listen

HEAD = b"POST /take HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n"
WHOLE = b"POST /take HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nok"


async def take(request: Request) -> Response:
    body = await request.body()
    await asyncio.sleep(0.5)  # an answer may take longer than a request
    return Response(body)


@pytest_asyncio.fixture
async def port() -> AsyncIterator[int]:
    at = bound("127.0.0.1", 0)
    app = Starlette(routes=[Route("/take", take, methods=["POST"])])
    serving = asyncio.create_task(listen(app, at, body_limit=64 << 10, receive_s=0.3))
    yield at.getsockname()[1]
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)


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


async def test_one_connection_takes_one_request_after_the_other(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(2):
        writer.write(WHOLE)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
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
