"""Isolation levels on engines of the test's own: a task of a source, from its call to its callback."""

import asyncio
import json
import subprocess
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import docker
import pytest

from ogpu_provider.domain.project import ProjectSpec
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.units import Address
from ogpu_provider.runtime.egress.guard import problem
from ogpu_provider.runtime.isolation import Isolation
from tests.own_engine import need
from tests.own_host import OwnHost, own_host
from tests.runtime_host import PYTHON

pytestmark = pytest.mark.docker
SOURCE, TASK = Address("0x" + "5C" * 20), Address("0x" + "7C" * 20)
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
