"""Podman's compatible socket: it answers, and what it cannot be asked for is not run in another way.

docs/security.md says what is missing. Where a later Podman has it, this test says so by failing.
"""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest

from ogpu_provider.devnet.registry import ImageRegistry
from ogpu_provider.devnet.tools import ensure_compose
from ogpu_provider.domain.clock import SystemClock
from ogpu_provider.domain.errors import EngineError
from ogpu_provider.domain.project import ProjectSpec
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.units import Address
from ogpu_provider.runtime.compose.policy import Limits
from ogpu_provider.runtime.composer import Composer, discover
from ogpu_provider.runtime.egress.guard import EgressSettings, Guard
from ogpu_provider.runtime.engine import Engine
from ogpu_provider.runtime.project_settings import ProjectSettings
from ogpu_provider.runtime.projects import Projects
from tests.own_engine import Podman, namespace, need
from tests.own_host import publish
from tests.runtime_host import images_of

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]
SOURCE = Address("0x" + "5D" * 20)
INSTANCE = "podman"


@dataclass(frozen=True, slots=True)
class Bench:
    own: Podman
    engine: Engine
    projects: Projects
    image: str


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    need()
    if shutil.which("podman") is None:
        pytest.skip("podman is not installed: apt-get install podman; nothing here installs it")
    folder = Path(tempfile.mkdtemp(prefix="ogpu-engine-"))
    with namespace():
        own = Podman(folder)
        try:
            await asyncio.to_thread(own.start)
            async with ImageRegistry(folder / "registry") as registry:
                digests = await asyncio.to_thread(publish, own, registry.address)
                engine = Engine(own.socket)
                settings = ProjectSettings(
                    instance=INSTANCE,
                    data_dir=folder / "provider",
                    provider=Address("0x" + "ab" * 20),
                    limits=Limits(memory=512 << 20, cpus=2.0, pids=256, private_registries=True),
                )
                projects = Projects(
                    engine,
                    Composer(await discover(await ensure_compose()), folder / "home", own.socket),
                    settings,
                    images_of(engine, folder / "provider"),
                    callback_url=lambda source: f"http://10.88.0.1:9/{source}",
                    clock=SystemClock(),
                    guard=Guard(INSTANCE, EgressSettings()),
                )
                yield Bench(own, engine, projects, f"{registry.address}/source:latest@{digests['source']}")
                await projects.aclose()
        finally:
            await asyncio.to_thread(own.stop)
            shutil.rmtree(folder, ignore_errors=True)


async def test_podman_answers_and_what_it_cannot_promise_is_not_run(bench: Bench) -> None:
    info = await bench.engine.info()
    assert info.cpus > 0
    assert "runc" in info.runtimes or "crun" in info.runtimes
    assert await bench.engine.bridge_gateway()
    compose = f'services: {{app: {{image: "{bench.image}", ports: ["${{PORT}}:5555"]}}}}'.encode()
    with pytest.raises(EngineError) as caught:
        await bench.projects.up(ProjectSpec(SOURCE, Environment.CPU, compose))
    # its image was pulled through Podman by then; a container as it was asked for could not be made
    assert caught.value.code in ("engine.start_failed", "engine.unverified")
    api = docker.APIClient(base_url=bench.own.socket, version="auto")
    assert api.containers(all=True, filters={"label": f"ogpu.instance={INSTANCE}"}) == []
    assert api.networks(filters={"label": f"ogpu.instance={INSTANCE}"}) == []
    api.close()
