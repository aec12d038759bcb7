"""The real probes, on what every machine has."""

import asyncio
import socket
import time
from contextlib import closing
from pathlib import Path

import pytest

from ogpu_provider.chain.networks import devnet, several
from ogpu_provider.doctor.probes import HostBooks, HostFiles, HostMachine, in_thread, opened
from ogpu_provider.doctor.probes_chain import NodeChain, PlainWeb
from ogpu_provider.doctor.probes_engine import facts_of
from ogpu_provider.domain.errors import EngineError, KeyRefused, RpcUnavailable
from ogpu_provider.runtime.engine import Engine
from ogpu_provider.settings import Settings

OLD_ENGINE = (
    {
        "ServerVersion": "20.10.24+dfsg1",
        "Runtimes": {"runc": {"path": "runc"}, "io.containerd.runc.v2": {"path": "runc"}},
        "DefaultRuntime": "runc",
        "SecurityOptions": ["name=seccomp,profile=default"],
        "Driver": "overlay2",
        "DockerRootDir": "/var/lib/docker",
        "CgroupVersion": "1",
        "MemoryLimit": True,
        "PidsLimit": True,
        "CpuCfsQuota": True,
        "IPv4Forwarding": True,
        "Swarm": {"LocalNodeState": "inactive"},
    },
    {"Version": "20.10.24+dfsg1", "ApiVersion": "1.41", "Components": [{"Name": "runc", "Version": "1.1.5+ds1"}]},
)


def test_an_engine_is_described_by_its_own_documents() -> None:
    facts = facts_of(*OLD_ENGINE)
    assert (facts.version, facts.api, facts.components) == ("20.10.24+dfsg1", "1.41", {"runc": "1.1.5+ds1"})
    assert facts.runtimes == ("runc", "io.containerd.runc.v2")
    assert (facts.swarm, facts.live_restore, facts.cdi_dirs) == (False, False, ())
    assert facts_of({"Swarm": {"LocalNodeState": "active"}, "CDISpecDirs": ["/etc/cdi"]}, {}).swarm


@pytest.mark.parametrize("empty", [{}, {"Runtimes": None, "SecurityOptions": None, "Swarm": None, "CDISpecDirs": None}])
def test_an_engine_that_says_little_is_described_by_little(empty: dict[str, object]) -> None:
    facts = facts_of(empty, {"Components": None})
    assert (facts.version, facts.runtimes, facts.swarm, facts.pids_limit) == ("", (), False, False)


async def test_files(tmp_path: Path) -> None:
    files = HostFiles()
    secret = tmp_path / "secret"
    secret.write_text("x" * (2 << 20))
    secret.chmod(0o644)
    facts = await files.stat(secret)
    assert facts is not None
    assert (facts.kind, facts.mode, facts.inode) == ("file", 0o644, secret.stat().st_ino)
    assert len(await files.text(secret) or "") == 1 << 20
    await files.chmod(secret, 0o600)
    assert secret.stat().st_mode & 0o777 == 0o600
    assert await files.stat(secret / "below") is None
    assert await files.text(tmp_path / "absent") is None
    assert await files.names(tmp_path / "absent") == ()
    assert await files.names(tmp_path) == ("secret",)
    room = await files.room(tmp_path / "not" / "made" / "yet")
    assert 0 < room.free <= room.total
    await files.mkdir(tmp_path / "made" / "now")
    assert (tmp_path / "made" / "now").stat().st_mode & 0o777 == 0o700


async def test_a_mode_is_not_changed_through_a_link(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.touch(mode=0o644)
    link.symlink_to(target)
    with pytest.raises(OSError, match="symbolic links"):
        await HostFiles().chmod(link, 0o600)
    assert target.stat().st_mode & 0o777 == 0o644


async def test_a_call_that_never_returns_keeps_nobody() -> None:
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await in_thread(lambda: time.sleep(30))
    assert time.monotonic() - started < 25


async def test_programs_see_no_environment() -> None:
    machine = HostMachine()
    assert await machine.run("no-such-program-anywhere") is None
    answer = await machine.run("sh", "-c", "env | grep -c SSH_; exit 4")
    assert answer == (4, "0\n")
    assert machine.limit("nofile")[0] > 0
    assert machine.cpus >= 1
    assert await machine.clock_synchronised() in (True, False, None)


async def test_ports() -> None:
    machine = HostMachine()
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert await machine.bindable("127.0.0.1", taken.getsockname()[1]) == "Address already in use"
    assert await machine.bindable("127.0.0.1", 0) == ""
    assert await machine.bindable("192.0.2.1", 0) != ""
    lent = await machine.lend_listener("127.0.0.1", 0)
    with closing(socket.create_connection(("127.0.0.1", lent.port), 5)):
        pass
    await lent.close()


async def serve(answer: bytes) -> asyncio.Server:
    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    return await asyncio.start_server(respond, "127.0.0.1", 0)


@pytest.mark.parametrize(
    "body",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n[1,2",
        b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 2\r\n\r\n{}",
        b'HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{"result": []',
        b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"result":"no"}',
        b"not http at all\r\n\r\n",
        b"",
    ],
)
async def test_a_node_that_talks_nonsense_is_an_error_of_the_tree(body: bytes) -> None:
    async with await serve(body) as server:
        chain = NodeChain(devnet(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"))
        with pytest.raises(RpcUnavailable):
            await chain.chain_id()
        with pytest.raises(RpcUnavailable):
            await chain.head()
        await chain.aclose()


async def test_a_chain_id_is_told_whichever_it_is() -> None:
    async with await serve(b'HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{"result":"0x1"}') as server:
        chain = NodeChain(devnet(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"))
        assert await chain.chain_id() == 1
        await chain.aclose()


async def test_the_web_answers_or_does_not() -> None:
    web = PlainWeb()
    async with await serve(b"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n") as server:
        assert await web.status(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/") == (302, "")
    status, reason = await web.status("http://127.0.0.1:9/")
    assert (status, bool(reason)) == (0, True)
    await web.aclose()


async def test_books_that_are_not_there(tmp_path: Path) -> None:
    settings = Settings.model_validate({"data_dir": str(tmp_path)})
    books = HostBooks(settings)
    assert await books.journal() is None
    with pytest.raises(KeyRefused):
        await books.address()


async def test_every_endpoint_is_asked_and_none_hides_another() -> None:
    answer = b'HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\n{"result":"0x42f"}'
    async with await serve(answer) as server:
        good = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        ends = several(devnet(good), ["http://user:hunter2@127.0.0.1:9/?key=hunter2"])
        chain = NodeChain(ends[0], ends)
        first, second = await chain.endpoints()
        await chain.aclose()
    assert (first.name, first.chain_id, first.head, first.problem) == (good.removeprefix("http://"), 1071, 1071, "")
    assert (second.name, second.chain_id, second.head) == ("127.0.0.1:9", None, None)
    assert second.problem
    assert "hunter2" not in repr(second)


async def test_the_doctor_looks_at_the_endpoints_that_the_daemon_uses() -> None:
    chosen = {"name": "testnet", "rpc_urls": ["wss://ws.example.org", "https://node.example.org"]}
    async with opened(Settings.model_validate({"network": chosen})) as context:
        assert (context.network.http_url, context.network.ws_url) == (chosen["rpc_urls"][1], chosen["rpc_urls"][0])


async def test_an_engine_that_says_nothing_is_unreachable_soon(tmp_path: Path) -> None:
    path = tmp_path / "silent.sock"
    with closing(socket.socket(socket.AF_UNIX)) as silent:
        silent.bind(str(path))
        silent.listen()
        engine = Engine(f"unix://{path}", call_seconds=1)
        with pytest.raises(EngineError) as error:
            await engine.details()
        assert error.value.code == "engine.unreachable"
        await engine.aclose()
