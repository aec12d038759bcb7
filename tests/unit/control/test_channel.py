"""The control socket, both ends, as files and processes see it."""

import asyncio
import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from ogpu_provider.control.client import ControlClient
from ogpu_provider.control.server import MOST_CONNECTIONS, ControlServer
from ogpu_provider.control.wire import SOCKET_NAME
from ogpu_provider.domain.errors import ControlError, ControlRefused, StoreError


async def echo(args: Mapping[str, Any]) -> object:
    return dict(args)


async def refuse(_: Mapping[str, Any]) -> object:
    raise StoreError("no room", code="store.full", remedy="free space")


async def crash(_: Mapping[str, Any]) -> object:
    raise ZeroDivisionError("0x1234")


async def big(_: Mapping[str, Any]) -> object:
    return "x" * 300_000


VERBS = {"echo": echo, "refuse": refuse, "crash": crash, "big": big}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ControlServer]:
    async with ControlServer(tmp_path / SOCKET_NAME, VERBS) as made:
        yield made


def client(server: ControlServer) -> ControlClient:
    return ControlClient(server.path.parent, timeout=60.0)


async def test_a_verb_is_answered(server: ControlServer) -> None:
    assert await client(server).ask("echo", a=1, b=["ü", None]) == {"a": 1, "b": ["ü", None]}
    assert len(await client(server).ask("big")) == 300_000


async def test_the_socket_is_its_owners_alone_and_gone_afterwards(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        async with ControlServer(tmp_path / SOCKET_NAME, VERBS) as server:
            mode = server.path.stat().st_mode
            assert (stat.S_ISSOCK(mode), stat.S_IMODE(mode)) == (True, 0o600)
    finally:
        os.umask(old)
    assert list(tmp_path.iterdir()) == []


async def test_a_directory_too_deep_for_a_socket_address_is_no_hindrance(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120) / ("e" * 120)
    deep.mkdir(parents=True)
    async with ControlServer(deep / SOCKET_NAME, VERBS) as server:
        assert await client(server).ask("echo", x=1) == {"x": 1}


async def test_what_a_crash_left_behind_is_replaced(tmp_path: Path) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / SOCKET_NAME))
    left.close()
    with pytest.raises(ControlError) as caught:
        await ControlClient(tmp_path).ask("echo")
    assert caught.value.code == "control.no_daemon"
    async with ControlServer(tmp_path / SOCKET_NAME, VERBS) as server:
        assert await client(server).ask("echo") == {}


async def test_a_refusal_keeps_code_and_remedy_and_a_crash_tells_nothing(server: ControlServer) -> None:
    with pytest.raises(ControlRefused) as caught:
        await client(server).ask("refuse")
    assert (caught.value.code, caught.value.remedy) == ("store.full", "free space")
    with pytest.raises(ControlRefused) as caught:
        await client(server).ask("crash")
    assert caught.value.code == "internal"
    assert "0x1234" not in str(caught.value)
    with pytest.raises(ControlRefused) as caught:
        await client(server).ask("nonsense")
    assert caught.value.code == "control.unknown_verb"
    assert await client(server).ask("echo") == {}, "it goes on answering"


RUBBISH = [b"rubbish", b"[]", b'{"verb": 7}', b'{"verb": "echo", "args": 3}', b"{" * 9999]


@pytest.mark.parametrize("line", RUBBISH)
async def test_rubbish_is_answered_or_cut_off_and_harms_nobody(server: ControlServer, line: bytes) -> None:
    reader, writer = await asyncio.open_unix_connection(str(server.path))
    writer.write(line + b"\n")
    answer = json.loads(await reader.readline())
    assert answer["error"]["code"] == "control.bad_request"
    writer.write(b"x" * 100_000 + b"\n")  # longer than any request
    assert await reader.read() == b""
    writer.close()
    assert await client(server).ask("echo") == {}


async def test_several_requests_go_over_one_connection(server: ControlServer) -> None:
    reader, writer = await asyncio.open_unix_connection(str(server.path))
    writer.write(b'{"verb": "echo"}\n{"verb": "echo", "args": {"n": 2}}\n')
    assert [json.loads(await reader.readline()) for _ in range(2)] == [{"ok": {}}, {"ok": {"n": 2}}]
    writer.close()


async def test_connections_are_few(server: ControlServer) -> None:
    opened = [await asyncio.open_unix_connection(str(server.path)) for _ in range(MOST_CONNECTIONS)]
    for reader, writer in opened:  # answered, so that each is counted
        writer.write(b'{"verb": "echo"}\n')
        await reader.readline()
    with pytest.raises(ControlError) as caught:
        await client(server).ask("echo")
    assert caught.value.code == "control.no_answer"
    opened[0][1].close()
    await opened[0][0].read()

    async def again() -> object:
        while True:
            try:
                return await client(server).ask("echo")
            except ControlError:
                await asyncio.sleep(0.01)

    assert await asyncio.wait_for(again(), 5) == {}
    for _, writer in opened:
        writer.close()


async def test_no_daemon_is_said_so(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ControlError) as caught:
            await ControlClient(folder).ask("echo")
        assert (caught.value.code, caught.value.remedy != "") == ("control.no_daemon", True)


async def test_a_daemon_that_hangs_is_not_waited_for(tmp_path: Path) -> None:
    async def never(_: Mapping[str, Any]) -> object:
        await asyncio.Event().wait()
        return None

    async with ControlServer(tmp_path / SOCKET_NAME, {"never": never}):
        with pytest.raises(ControlError) as caught:
            await ControlClient(tmp_path, timeout=0.05).ask("never")
    assert caught.value.code == "control.no_answer"


AS_NOBODY = """
import os, socket, sys
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
try:
    s.sendall(b'{"verb": "echo"}' + bytes([10]))
    sys.exit(len(s.recv(99)))
except ConnectionError:
    sys.exit(0)
"""
"""Ends with the number of bytes that it was told."""


async def told_to_nobody(path: Path) -> int:
    argv = [sys.executable, "-c", AS_NOBODY, str(path)]
    done = await asyncio.to_thread(subprocess.run, argv, capture_output=True, timeout=120)
    assert done.stderr == b""
    return done.returncode


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
async def test_another_user_is_cut_off_even_where_the_file_lets_him_in() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        async with ControlServer(Path(folder) / SOCKET_NAME, VERBS) as server:
            server.path.chmod(0o666)
            assert await told_to_nobody(server.path) == 0
        async with ControlServer(Path(folder) / SOCKET_NAME, VERBS, own_uid=65534) as server:
            server.path.chmod(0o666)
            assert await told_to_nobody(server.path) > 0, "its own user is answered"


async def test_a_socket_that_cannot_be_made_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(ControlError) as caught:
        async with ControlServer(tmp_path / "missing" / SOCKET_NAME, VERBS):
            pass
    assert caught.value.code == "control.unusable"
