"""Isolation levels on engines of the test's own: a task of a source, from its call to its callback."""

import asyncio
import json
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import docker
import pytest

from ogpu_provider.doctor.checks import isolation_levels
from ogpu_provider.doctor.finding import Status
from ogpu_provider.doctor.probes_engine import DockerEngine
from ogpu_provider.domain.project import ProjectSpec
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.units import Address
from ogpu_provider.runtime.egress.guard import problem
from ogpu_provider.runtime.isolation import Isolation
from ogpu_provider.settings import Runtime, Settings
from tests.fakes.host import FakeHost
from tests.own_engine import need
from tests.own_host import OwnHost, own_host
from tests.runtime_host import PYTHON

pytestmark = pytest.mark.docker
SOURCE, TASK = Address("0x" + "5C" * 20), Address("0x" + "7C" * 20)
ACCOUNTS = """
set -e
mount --make-rprivate /
for name in passwd group subuid subgid; do
  { [ ! -e /etc/$name ] || grep -v "^dockremap:" /etc/$name; } > "$FOLDER/$name" || true
done
echo "dockremap:x:64999:64999::/:/bin/false" >> "$FOLDER/passwd"
echo "dockremap:x:64999:" >> "$FOLDER/group"
for name in subuid subgid; do echo "dockremap:100000:65536" > "$FOLDER/$name"; done
for name in passwd group subuid subgid; do
  [ -e /etc/$name ] || : > /etc/$name
  mount --bind "$FOLDER/$name" /etc/$name
done
exec "$@"
"""
RUNTIMES = {"runtimes": {"runsc": {"path": "/usr/bin/runsc", "runtimeArgs": ["--network=host"]}}}


@pytest.fixture
async def room() -> AsyncIterator[OwnHost]:
    need("runsc")
    with tempfile.TemporaryDirectory(prefix="ogpu-levels-") as folder:
        config = Path(folder) / "daemon.json"
        config.write_text(json.dumps(RUNTIMES))
        async with own_host("levels", ["--config-file", str(config)], isolation=Isolation.GVISOR) as made:
            yield made


async def test_gvisor_takes_a_task_and_posts_its_result(room: OwnHost) -> None:
    compose = f'services: {{app: {{image: "{room.image()}", ports: ["${{PORT}}:5555"]}}}}'.encode()
    await room.projects.up(ProjectSpec(SOURCE, Environment.CPU, compose))
    (container,) = await room.engine.containers({"ogpu.source": SOURCE})
    assert container.raw["HostConfig"]["Runtime"] == "runsc"
    version = await room.engine.ask(lambda api: _said(api, container.id, "print(open('/proc/version').read())"))
    assert version.startswith("Linux version 4.4.0")  # what gVisor's kernel calls itself, whatever the host's is
    assert "gvisor: seen in a container" in await examined(room.own.socket, "gvisor")
    await room.projects.dispatch(SOURCE, TASK, "multiply", '{"a": 6, "b": 7}')
    await asyncio.wait_for(room.inbox.arrived.wait(), 60)
    assert json.loads(room.inbox.bodies[SOURCE, TASK]) == {"result": 42}
    # the egress rules hold for it as for any other, also after the engine was away
    assert await problem(room.instance, [SOURCE]) == ""
    watch = asyncio.create_task(room.projects.watch())
    try:
        await asyncio.to_thread(room.own.stop)
        for chain in ("INPUT", "DOCKER-USER"):
            subprocess.run(["iptables", "--flush", chain], check=True)
        assert "comes to our rules" in await problem(room.instance, [SOURCE])
        await asyncio.to_thread(room.own.start)
        async with asyncio.timeout(45):
            while await problem(room.instance, [SOURCE]):
                await asyncio.sleep(0.1)
    finally:
        watch.cancel()


async def test_a_user_namespace_takes_a_task_and_root_in_it_is_nobody_here() -> None:
    """On an engine that remaps users; the accounts that it wants are there in a mount namespace of its own only."""
    need("unshare")
    folder = Path(tempfile.mkdtemp(prefix="ogpu-levels-"))
    folder.chmod(0o711)
    (folder / "run").mkdir(mode=0o711)  # beside the folder of its state the engine makes one for the remapped root
    arguments = ["--userns-remap", "default", "--data-root", str(folder / "data")]
    arguments += ["--exec-root", str(folder / "run" / "exec")]
    prefix = ("unshare", "--mount", "sh", "-c", ACCOUNTS, "engine")
    try:
        async with own_host(
            "remapped",
            arguments,
            isolation=Isolation.USER_NAMESPACE,
            prefix=prefix,
            environment={"FOLDER": str(folder)},
        ) as host:
            compose = f'services: {{app: {{image: "{host.image()}", ports: ["${{PORT}}:5555"]}}}}'.encode()
            await host.projects.up(ProjectSpec(SOURCE, Environment.CPU, compose))
            await host.projects.dispatch(SOURCE, TASK, "multiply", '{"a": 6, "b": 7}')
            await asyncio.wait_for(host.inbox.arrived.wait(), 60)
            assert json.loads(host.inbox.bodies[SOURCE, TASK]) == {"result": 42}
            (container,) = await host.engine.containers({"ogpu.source": SOURCE})
            process = Path("/proc") / str(container.raw["State"]["Pid"])
            assert (process / "uid_map").read_text().split() == ["0", "100000", "65536"]
            assert process.stat().st_uid == 100000
            assert "user-namespace: seen in a container" in await examined(host.own.socket, "user-namespace")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def examined(socket: str, level: str) -> str:
    """What doctor finds on this engine, asked for that level."""
    runtime = Runtime(docker_host=socket, isolation=level)
    settings = Settings(runtime=runtime)
    engine = DockerEngine(settings)
    try:
        context = replace(FakeHost().context, settings=settings, engine=engine)
        seen = await isolation_levels.CHECK.look(context)
    finally:
        await engine.aclose()
    assert seen.status is Status.OK, seen
    return seen.found


def _said(api: docker.APIClient, container: str, script: str) -> str:
    made = api.exec_create(container, [PYTHON, "-c", script])
    return bytes(api.exec_start(made["Id"])).decode()
