"""The published shapes of official sources, run by a real engine: stand-in images, and nothing else of them changed.

The engine's GPU hook is a stand-in, too, and so are the device files: what a container is given is what is tested.
"""

import asyncio
import json
import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ogpu_provider.domain.project import ProjectSpec
from ogpu_provider.domain.resources import Device
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.units import Address
from ogpu_provider.runtime.container import Container
from tests.own_engine import need
from tests.own_host import OwnHost, own_host

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]
OFFICIAL = sorted((Path(__file__).parent / "official").glob("*.yml"))
TASK = Address("0x" + "7E" * 20)
CARD = "GPU-11111111-2222-3333-4444-555555555555"
NODES = ("/dev/kfd", "/dev/dri/renderD128")
HOOK = """#!/bin/sh
cat > /dev/null
"""
DEVICES = """
set -e
mount --make-rprivate /
mkdir -p "$FOLDER/dev"
mount -t tmpfs dev "$FOLDER/dev"
for node in null zero full random urandom tty kmsg fuse; do [ -e /dev/$node ] && cp -a /dev/$node "$FOLDER/dev/"; done
for each in pts shm mqueue; do
  [ -d /dev/$each ] && mkdir "$FOLDER/dev/$each" && mount --bind /dev/$each "$FOLDER/dev/$each"
done
ln -s pts/ptmx "$FOLDER/dev/ptmx"; ln -s /proc/self/fd "$FOLDER/dev/fd"
mkdir "$FOLDER/dev/dri"
mknod "$FOLDER/dev/kfd" c 1 3; mknod "$FOLDER/dev/dri/renderD128" c 1 3
mount --bind "$FOLDER/dev" /dev
exec "$@"
"""


@pytest.fixture
async def host() -> AsyncIterator[OwnHost]:
    need("unshare", "mknod")
    with tempfile.TemporaryDirectory(prefix="ogpu-gpus-") as folder:
        hook = Path(folder) / "nvidia-container-runtime-hook"
        hook.write_text(HOOK)
        hook.chmod(0o755)
        environment = {"PATH": f"{folder}:{os.environ['PATH']}", "FOLDER": folder}
        prefix = ("unshare", "--mount", "sh", "-c", DEVICES, "engine")
        async with own_host("official", prefix=prefix, environment=environment) as made:
            yield made


async def test_all_five_published_shapes_run_and_reach_their_siblings(host: OwnHost) -> None:
    assert len(OFFICIAL) == 5
    for number, path in enumerate(OFFICIAL):
        environment = Environment[path.stem.rpartition("-")[2].upper()]
        source = Address(f"0x{number:040x}")
        compose = host.standing_in(path.read_text(), ["ollama/ollama"])
        devices = () if environment is Environment.CPU else (Device(CARD, environment, "card", 0, nodes=NODES),)
        await host.projects.up(ProjectSpec(source, environment, compose, devices))
        containers = await host.engine.containers({"ogpu.source": source})
        assert all(each.running for each in containers), path.stem
        assert len(containers) == (2 if path.stem.startswith("chat") else 1), path.stem
        await host.projects.dispatch(source, TASK, "multiply", '{"a": 6, "b": 7}')
        assert await result(host, source) == {"result": 42}, path.stem
        if path.stem.startswith("chat"):
            assert await sibling(host, source) == 200, path.stem
        devices_of(containers, environment, path.stem)
        await host.projects.down(source)


async def result(host: OwnHost, source: Address, task: Address = TASK) -> Any:
    async with asyncio.timeout(60):
        while (source, task) not in host.inbox.bodies:
            host.inbox.arrived.clear()
            await host.inbox.arrived.wait()
    return json.loads(host.inbox.bodies[source, task])


async def sibling(host: OwnHost, source: Address) -> Any:
    """By the address that the file itself gives: through a port of the host for two of them."""
    other = Address("0x" + "7F" * 20)
    await host.projects.dispatch(source, other, "sibling", "{}")
    return await result(host, source, other)


def devices_of(containers: list[Container], environment: Environment, stem: str) -> None:
    """Exactly the leased device, in exactly the service that asked for devices."""
    given = []
    for container in containers:
        raw = container.raw["HostConfig"]
        asked = [each["DeviceIDs"] for each in raw["DeviceRequests"] or ()]
        nodes = [each["PathOnHost"] for each in raw["Devices"] or ()]
        chosen = [line for line in container.raw["Config"]["Env"] if line.startswith("NVIDIA_VISIBLE_DEVICES=")]
        assert chosen == [f"NVIDIA_VISIBLE_DEVICES={CARD if asked else 'void'}"], stem
        given += [*asked, *([nodes] if nodes else [])]
    assert given == {Environment.CPU: [], Environment.NVIDIA: [[CARD]], Environment.AMD: [list(NODES)]}[environment]
