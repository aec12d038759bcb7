"""What a container may answer, and what we make of it. The container is a few lines on a socket."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from ogpu_provider.domain.errors import DispatchError, EngineError, Retry
from ogpu_provider.domain.units import Address
from ogpu_provider.runtime.dispatch import SourceClient

TASK = Address("0x" + "7A" * 20)
OPENAPI = json.dumps({"paths": {"/run/f/{task_address}": {"post": {}}}}).encode()


@asynccontextmanager
async def container(answer: bytes, seen: list[bytes] | None = None) -> AsyncIterator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        if b"content-length" in request.lower():
            request += await reader.read(1000)
        if seen is not None:
            seen.append(request)
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def response(status: int, body: bytes = b"{}") -> bytes:
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


async def run(port: int, function: str = "f", data: str = '{"a": 1}') -> None:
    client = SourceClient(seconds=0.5)
    try:
        await client.run(port, function, TASK, data)
    finally:
        await client.aclose()


async def test_the_input_goes_as_it_is() -> None:
    seen: list[bytes] = []
    async with container(response(202), seen) as port:
        await run(port, data='{"a":  1e2}')
    assert seen[0].startswith(f"POST /run/f/{TASK} HTTP/1.1\r\n".encode())
    assert seen[0].endswith(b'{"a":  1e2}')
    assert b"content-type: application/json" in seen[0].lower()


async def test_a_name_cannot_leave_its_place_in_the_path() -> None:
    seen: list[bytes] = []
    async with container(response(202), seen) as port:
        await run(port, "../a b?c#d")
    assert seen[0].startswith(f"POST /run/..%2Fa%20b%3Fc%23d/{TASK} ".encode())


@pytest.mark.parametrize(
    ("status", "code", "retry"),
    [
        (400, "dispatch.rejected", Retry.NEVER),
        (404, "dispatch.rejected", Retry.NEVER),
        (422, "dispatch.rejected", Retry.NEVER),
        (302, "dispatch.rejected", Retry.NEVER),
        (409, "dispatch.busy", Retry.LATER),
        (503, "dispatch.busy", Retry.LATER),
        (500, "dispatch.failed", Retry.LATER),
    ],
)
async def test_answers_become_codes(status: int, code: str, retry: Retry) -> None:
    async with container(response(status, b"why\x1b[31m" + b"x" * 10_000)) as port:
        with pytest.raises(DispatchError) as caught:
            await run(port)
    assert (caught.value.code, caught.value.retry) == (code, retry)
    assert "why" in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


async def test_nobody_there_is_not_the_same_as_no_answer() -> None:
    async with container(b"") as port:
        with pytest.raises(DispatchError) as caught:
            await run(port)
        assert caught.value.code == "dispatch.unanswered"
    with pytest.raises(DispatchError) as caught:
        await run(port)
    assert (caught.value.code, caught.value.retry) == ("dispatch.unreachable", Retry.LATER)


async def test_a_contract_is_fetched_when_it_is_there() -> None:
    client = SourceClient(seconds=0.5)
    async with container(response(200, OPENAPI)) as port:
        contract = await client.contract(port)
        assert contract is not None
        assert contract.functions == {"f"}
    assert await client.contract(port) is None
    for answer in (response(404), b"nonsense", b""):
        async with container(answer) as port:
            assert await client.contract(port) is None
    async with container(response(200, b"{}")) as port:
        with pytest.raises(EngineError, match="paths"):
            await client.contract(port)
    await client.aclose()
