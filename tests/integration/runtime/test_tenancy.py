"""Who is whose on a real engine: projects and processes of ours, and a device given to a small container."""

import asyncio
import os
from pathlib import Path

import pytest

from ogpu_provider.domain.errors import EngineError
from ogpu_provider.domain.project import ProjectSpec
from ogpu_provider.domain.resources import Device
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.units import Address
from ogpu_provider.runtime.compose import render
from ogpu_provider.runtime.devicetest import try_device
from ogpu_provider.runtime.tenancy import own_processes
from ogpu_provider.scheduler.health import HealthPolicy
from ogpu_provider.scheduler.reading import DeviceReading
from ogpu_provider.scheduler.ward import Ward
from ogpu_provider.store.memory import MemoryStore
from tests.decoys import decoys
from tests.fakes.clock import FakeClock
from tests.runtime_host import Host

pytestmark = pytest.mark.docker
SOURCE = Address("0x" + "5C" * 20)
OPENS = Device("0000:03:00.0", Environment.AMD, "a card that opens", 1 << 34, nodes=("/dev/zero", "/dev/null"))
GONE = Device("0000:83:00.0", Environment.AMD, "a card without its files", 1 << 34, nodes=("/dev/null", "/dev/no-such"))


def spec(image: str) -> ProjectSpec:
    compose = f'services: {{app: {{image: "{image}", ports: ["${{PORT}}:5555"]}}}}'
    return ProjectSpec(SOURCE, Environment.CPU, compose.encode())


async def pid_of(host: Host, container: str) -> int:
    found = await host.engine.container(container)
    assert found is not None
    return int(found.raw["State"]["Pid"])


async def test_a_containers_process_is_ours_and_nobody_elses_is(host: Host, image: str, tmp_path: Path) -> None:
    projects = host.projects()
    await projects.up(spec(image))
    ((container, labels),) = (await host.engine.running({render.SOURCE: SOURCE})).items()
    pid, instance = await pid_of(host, container), labels[render.INSTANCE]
    assert await projects.own({pid, os.getpid(), 1}) == {pid}
    async with decoys(instance) as others:
        strangers = {await pid_of(host, name) for name in others}
        assert await projects.own({pid, *strangers}) == {pid}
    # where the kernel shows nothing of it (the daemon is in a container), the engine is asked
    assert await own_processes(host.engine, instance, {pid, os.getpid()}, tmp_path) == {pid}
    await projects.down(SOURCE)
    assert await projects.own({pid}) == frozenset()
    assert await host.engine.processes(container) == set()


async def test_a_project_on_its_way_is_told_as_changing(host: Host, image: str) -> None:
    projects = host.projects()
    starting = asyncio.create_task(projects.up(spec(image)))
    seen: set[Address] = set()
    while not starting.done():
        seen |= (await projects.occupancy()).changing
        await asyncio.sleep(0.01)
    await starting
    assert seen == {SOURCE}
    after = await projects.occupancy()
    assert ([project.source for project in after.running], after.changing) == ([SOURCE], frozenset())
    await projects.down(SOURCE)


async def test_a_device_is_given_to_a_small_container_and_must_open(host: Host) -> None:
    await try_device(host.engine, OPENS)
    with pytest.raises(EngineError) as failed:
        await try_device(host.engine, GONE)
    assert failed.value.code == "engine.device_failed"
    assert "/dev/no-such" in str(failed.value)


async def test_a_card_that_this_engine_cannot_give_fails_its_test(host: Host) -> None:
    if "nvidia" in (await host.engine.info()).runtimes:
        pytest.skip("this host has the NVIDIA runtime")
    with pytest.raises(EngineError) as failed:
        await try_device(host.engine, Device("GPU-none", Environment.NVIDIA, "card", 1))
    assert failed.value.code == "engine.device_failed"


async def test_a_cordoned_card_comes_back_by_a_container_of_this_engine(host: Host) -> None:
    clock, projects = FakeClock(), host.projects()
    ward = Ward(MemoryStore(), HealthPolicy(), clock, projects.test)
    await ward.restore()
    await ward.look([DeviceReading(each, xids=(79,)) for each in (OPENS, GONE)], ())
    await clock.leap(600)
    await ward.retest()
    assert [cordon.card for cordon in ward.standing] == [GONE.id]
    assert "does not work in a container" in ward.outlook(ward.standing[0])
