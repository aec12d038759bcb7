"""Isolation levels on engines of the test's own: a task of a source, from its call to its callback."""

import asyncio
import json
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest

from ogpu_provider.devnet.registry import ImageRegistry
from ogpu_provider.devnet.tools import ensure_compose
from ogpu_provider.domain.clock import SystemClock
from ogpu_provider.domain.project import ProjectSpec
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.units import Address
from ogpu_provider.runtime.callback import CallbackServer
from ogpu_provider.runtime.compose.policy import Limits
from ogpu_provider.runtime.composer import Composer, discover
from ogpu_provider.runtime.egress.guard import EgressSettings, Guard, problem
from ogpu_provider.runtime.engine import Engine
from ogpu_provider.runtime.isolation import Isolation, IsolationSettings
from ogpu_provider.runtime.project_settings import ProjectSettings
from ogpu_provider.runtime.projects import Projects
from tests.own_engine import OwnEngine, namespace, need
from tests.runtime_host import PYTHON, Inbox, home_of_stdlib, source_tar

pytestmark = pytest.mark.docker
SOURCE, TASK = Address("0x" + "5C" * 20), Address("0x" + "7C" * 20)
RUNTIMES = {"runtimes": {"runsc": {"path": "/usr/bin/runsc", "runtimeArgs": ["--network=host"]}}}


@dataclass(frozen=True, slots=True)
class Room:
    """An engine with the source's image in a registry, and the parts of a daemon beside it."""

    own: OwnEngine
    engine: Engine
    projects: Projects
    inbox: Inbox
    spec: ProjectSpec
    instance: str


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    need("runsc")
    folder = Path(tempfile.mkdtemp(prefix="ogpu-engine-"))
    (folder / "daemon.json").write_text(json.dumps(RUNTIMES))
    with namespace():
        own = OwnEngine(folder, ["--config-file", str(folder / "daemon.json")])
        try:
            await asyncio.to_thread(own.start)
            async with ImageRegistry(folder / "registry") as registry:
                spec = ProjectSpec(SOURCE, Environment.CPU, await asyncio.to_thread(_published, own, registry.address))
                engine, inbox = Engine(own.socket), Inbox()
                async with CallbackServer(await engine.bridge_gateway(), 0, b"s" * 32, inbox) as callback:
                    composer = Composer(await discover(await ensure_compose()), folder / "home", own.socket)
                    settings = ProjectSettings(
                        instance="levels",
                        data_dir=folder / "provider",
                        provider=Address("0x" + "ab" * 20),
                        ready_timeout=60.0,
                        stop_grace=1,
                        limits=Limits(memory=512 << 20, cpus=2.0, pids=256, private_registries=True),
                        isolation=IsolationSettings(Isolation.GVISOR),
                    )
                    projects = Projects(
                        engine,
                        composer,
                        settings,
                        callback_url=callback.url,
                        clock=SystemClock(),
                        guard=Guard("levels", EgressSettings()),
                    )
                    try:
                        yield Room(own, engine, projects, inbox, spec, "levels")
                    finally:
                        await projects.down(SOURCE)
                        await projects.aclose()
        finally:
            await asyncio.to_thread(own.stop)
            shutil.rmtree(folder, ignore_errors=True)


def _published(own: OwnEngine, registry: str) -> bytes:
    """Put the source's image into the registry; its compose file."""
    api = docker.APIClient(base_url=own.socket, version="auto")
    changes = [f'CMD ["{PYTHON}", "/app/main.py"]', f"ENV PYTHONHOME={home_of_stdlib()} PYTHONUNBUFFERED=1"]
    api.import_image_from_data(source_tar(), repository=f"{registry}/test/source", tag="1", changes=changes)
    api.push(f"{registry}/test/source", tag="1")
    api.close()
    return f'services: {{app: {{image: "{registry}/test/source:1", ports: ["${{PORT}}:5555"]}}}}'.encode()


async def test_gvisor_takes_a_task_and_posts_its_result(room: Room) -> None:
    await room.projects.up(room.spec)
    (container,) = await room.engine.containers({"ogpu.source": SOURCE})
    assert container.raw["HostConfig"]["Runtime"] == "runsc"
    version = await room.engine.ask(lambda api: _said(api, container.id, "print(open('/proc/version').read())"))
    assert version.startswith("Linux version 4.4.0")  # what gVisor's kernel calls itself, whatever the host's is
    await room.projects.dispatch(SOURCE, TASK, "multiply", '{"a": 6, "b": 7}')
    await asyncio.wait_for(room.inbox.arrived.wait(), 20)
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
        async with asyncio.timeout(10):
            while await problem(room.instance, [SOURCE]):
                await asyncio.sleep(0.1)
    finally:
        watch.cancel()


def _said(api: docker.APIClient, container: str, script: str) -> str:
    made = api.exec_create(container, [PYTHON, "-c", script])
    return bytes(api.exec_start(made["Id"])).decode()
