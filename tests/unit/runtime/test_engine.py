"""The engine's adapter against an engine of a few lines on a Unix socket, and against none."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from ogpu_provider.domain.errors import EngineError, Retry
from ogpu_provider.runtime.engine import Engine
from ogpu_provider.runtime.removal import remove

Answers = Mapping[str, tuple[int, Any]]


@asynccontextmanager
async def engine(tmp_path: Path, answers: Answers, seen: list[str] | None = None) -> AsyncIterator[Engine]:
    """Answers by the end of the path; /version is always there."""
    known = {"/version": (200, {"ApiVersion": "1.41", "Version": "20.10"}), **answers}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            while True:
                method, path = (await reader.readuntil(b"\r\n\r\n")).decode().split()[:2]
                path = unquote(path)
                if seen is not None:
                    seen.append(f"{method} {path}")
                status, body = next((known[end] for end in known if end in path), (404, {"message": "no such thing"}))
                text = body if isinstance(body, bytes) else json.dumps(body).encode()
                head = f"HTTP/1.1 {status} X\r\nTransfer-Encoding: chunked\r\n\r\n{len(text):x}\r\n"
                writer.write(head.encode() + text + b"\r\n0\r\n\r\n")
        writer.close()

    server = await asyncio.start_unix_server(serve, tmp_path / "engine.sock")
    client = Engine(f"unix://{tmp_path}/engine.sock")
    try:
        yield client
    finally:
        await client.aclose()
        server.close()


async def test_no_engine_is_an_error_that_may_pass(tmp_path: Path) -> None:
    client = Engine(f"unix://{tmp_path}/nothing.sock")
    with pytest.raises(EngineError) as caught:
        await client.info()
    assert (caught.value.code, caught.value.retry) == ("engine.unreachable", Retry.LATER)
    assert caught.value.remedy
    await client.aclose()


@pytest.mark.parametrize(
    ("config", "address"),
    [
        ([{"Subnet": "172.17.0.0/16", "Gateway": "172.17.0.1"}], "172.17.0.1"),
        ([{"Subnet": "10.9.0.0/24"}], "10.9.0.1"),
        ([{"Subnet": "fd00::/64"}, {"Subnet": "10.9.0.0/24", "Gateway": "10.9.0.9"}], "10.9.0.9"),
    ],
)
async def test_the_gateway_of_the_bridge(tmp_path: Path, config: list[dict[str, str]], address: str) -> None:
    async with engine(tmp_path, {"/networks/bridge": (200, {"IPAM": {"Config": config}})}) as client:
        assert await client.bridge_gateway() == address


async def test_an_engine_without_a_bridge(tmp_path: Path) -> None:
    async with engine(tmp_path, {"/networks/bridge": (200, {"IPAM": {"Config": None}})}) as client:
        with pytest.raises(EngineError) as caught:
            await client.bridge_gateway()
    assert caught.value.code == "engine.no_bridge"


async def test_everything_is_removed_only_by_label(tmp_path: Path) -> None:
    seen: list[str] = []
    async with engine(tmp_path, {"/containers/json": (200, []), "/networks": (200, [])}, seen) as client:
        with pytest.raises(ValueError, match="labels"):
            await remove(client, {}, grace=1)
        await remove(client, {"ogpu.instance": "x"}, grace=1)
    lists = [line for line in seen if "json" in line or "/networks" in line]
    assert lists
    assert all("ogpu.instance" in line for line in lists)
