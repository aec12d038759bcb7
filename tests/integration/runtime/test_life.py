"""What becomes of a project that does not do well, in a real engine: a code for each way, and an end to trying."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import docker
import pytest

from ogpu_provider.domain.errors import DispatchError, EngineError, Retry
from ogpu_provider.domain.project import ProjectSpec
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.units import Address
from ogpu_provider.runtime.projects import Projects
from tests.own_engine import need
from tests.own_host import own_host
from tests.runtime_host import PYTHON, Host

pytestmark = pytest.mark.docker
SOURCE, TASK = Address("0x" + "5F" * 20), Address("0x" + "7F" * 20)
SICK = "import os, sys; sys.exit(os.path.exists('/sick'))"
CHECK = f'healthcheck: {{test: ["CMD", "{PYTHON}", "-c", "{SICK}"], interval: 1s, timeout: 20s, retries: 1}}'


def spec(image: str, extra: str = "") -> ProjectSpec:
    text = f'services:\n  app:\n    image: "{image}"\n    ports: ["${{PORT}}:5555"]\n    {extra}\n'
    return ProjectSpec(SOURCE, Environment.CPU, text.encode())


async def code_of(projects: Projects) -> str:
    """The code of what keeps it from working, once there is something."""
    async with asyncio.timeout(60):
        while True:
            try:
                await projects.health(SOURCE)
            except EngineError as error:
                return error.code
            await asyncio.sleep(0.1)


async def test_a_container_that_fails_its_own_health_check_is_unhealthy(host: Host, image: str) -> None:
    async with AsyncExitStack() as stack:
        projects = host.projects(ready_timeout=60.0)
        await projects.up(spec(image, CHECK))
        watch = asyncio.create_task(projects.watch())
        stack.callback(watch.cancel)
        await asyncio.sleep(0.5)
        await projects.health(SOURCE)
        await projects.dispatch(SOURCE, TASK, "sicken", "{}")
        assert await code_of(projects) == "engine.unhealthy"
        assert host.changes == [SOURCE]
        before = await host.engine.containers({"ogpu.source": SOURCE})
        await projects.up(spec(image, CHECK))
        after = await host.engine.containers({"ogpu.source": SOURCE})
        assert {each.id for each in before}.isdisjoint(each.id for each in after)


async def test_a_container_that_hangs_took_the_call_and_does_not_answer(host: Host, image: str) -> None:
    projects = host.projects(dispatch_timeout=1.0, ready_timeout=60.0)
    await projects.up(spec(image))
    (container,) = await host.engine.containers({"ogpu.source": SOURCE})
    api = docker.APIClient(version="auto")
    try:
        api.pause(container.id)
        with pytest.raises(DispatchError) as caught:
            await projects.dispatch(SOURCE, TASK, "multiply", '{"a": 6, "b": 7}')
        assert (caught.value.code, caught.value.retry) == ("dispatch.unanswered", Retry.LATER)
        await projects.down(SOURCE)
    finally:
        api.close()


async def test_a_project_that_keeps_ending_is_paused_until_the_operator_says_otherwise(host: Host, image: str) -> None:
    projects = host.projects(restarts=2, ready_timeout=60.0)
    failing = spec(image, f'command: ["{PYTHON}", "-c", "import sys; sys.exit(\'no model\')"]')
    codes = []
    for _ in range(3):
        with pytest.raises(EngineError) as caught:
            await projects.up(failing)
        codes.append((caught.value.code, caught.value.retry))
    assert codes == [("engine.exited", Retry.LATER)] * 2 + [("engine.restarts", Retry.NEVER)]
    assert "no model" in str(caught.value)
    assert await host.engine.containers({"ogpu.source": SOURCE}) == []
    projects.forgive(SOURCE)
    with pytest.raises(EngineError, match="no model") as caught:
        await projects.up(failing)
    assert caught.value.code == "engine.exited"


async def test_an_engine_that_was_restarted_or_hung_costs_a_start_and_no_more(tmp_path: Path) -> None:
    """A second engine: containers end with it, are known to have ended, and are brought up again."""
    need()
    async with own_host("restart") as host:
        wanted = spec(host.image())
        await host.projects.up(wanted)
        watch = asyncio.create_task(host.projects.watch())
        try:
            await asyncio.sleep(0.5)
            await host.projects.health(SOURCE)
            await asyncio.to_thread(host.own.stop)
            with pytest.raises(EngineError) as caught:
                await host.projects.up(wanted)
            assert caught.value.code == "engine.unreachable"
            await asyncio.to_thread(host.own.start)
            assert await code_of(host.projects) == "engine.exited"
            await host.projects.up(wanted)
            await host.projects.dispatch(SOURCE, TASK, "multiply", '{"a": 6, "b": 7}')
            await asyncio.wait_for(host.inbox.arrived.wait(), 60)
            host.own.freeze()
            await host.projects.health(SOURCE)  # from memory: the containers do their work without the engine
            host.own.thaw()
            assert not watch.done()
            await host.projects.up(wanted)
        finally:
            watch.cancel()
