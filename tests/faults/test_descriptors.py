"""No file descriptor is to be had any more, for the whole daemon: tasks come in meanwhile, and one is at work.

Nothing can be opened or accepted. What holds: the daemon stays, each task that it took is answered once, and when
descriptors are free again all goes on by itself.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from ogpu_provider.devnet.engine import remove_instance
from ogpu_provider.devnet.provider_process import ProviderProcess
from ogpu_provider.domain.task import TaskState
from ogpu_provider.domain.units import Address
from ogpu_provider.environment import others
from tests.faults.descriptors import no_descriptor_left
from tests.faults.scene import Scene
from tests.waiting import until

INSTANCE = f"descriptors-{os.getpid()}"
pytestmark = [pytest.mark.devnet, pytest.mark.docker, pytest.mark.timeout(600)]


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as opened:
        yield opened
    await remove_instance(INSTANCE)


async def said(daemon: ProviderProcess, what: str, times: int = 1) -> None:
    async def look() -> bool:
        daemon.check()
        return daemon.log.read_text().count(what) >= times

    await until(look, 120, f"the daemon to say {what}")


async def status(daemon: ProviderProcess) -> int:
    """The exit code of an operator's command."""
    command = (sys.executable, "-m", "ogpu_provider.cli.main", "status", "--json", "--config", str(daemon.config))
    process = await asyncio.create_subprocess_exec(*command, env=others(), stdout=asyncio.subprocess.DEVNULL)
    return await asyncio.wait_for(process.wait(), 120)


async def test_a_daemon_outlives_that_it_has_no_descriptor_left(tmp_path: Path, stack: AsyncExitStack) -> None:
    scene = await Scene.open(stack, tmp_path / "network", block_time=0.5)
    way = await scene.proxy()
    daemon = await scene.daemon(tmp_path, INSTANCE, way, slots=8)
    auditor = await scene.auditor(daemon, INSTANCE)
    world = await scene.world(daemon)
    products: dict[str, object] = {}

    async def published(number: int) -> None:
        task = await world.publish("multiply", "multiply", {"a": number, "b": 3}, life=600.0)
        products[task] = {"result": number * 3}

    with no_descriptor_left(daemon.pid):  # they are heard of by the socket that is open, and brought nowhere
        for number in range(3):
            await published(number)
        await said(daemon, "dispatch.unreachable", 3)
    for task in products:
        await world.reaches(Address(task), TaskState.SETTLED, timeout=180)

    slow = await world.publish("multiply", "sleep", {"seconds": 8}, life=600.0)
    products[slow] = {"slept": 8.0}
    await world.reaches(slow, TaskState.EXECUTING, timeout=180)
    with no_descriptor_left(daemon.pid):  # its result comes meanwhile, and the way to the chain is cut
        way.cut()
        await published(7)
        await said(daemon, "rpc_endpoint_failing")
        await status(daemon)
        await asyncio.sleep(12)
        daemon.check()
    for task in products:
        await world.reaches(Address(task), TaskState.SETTLED, timeout=180)
    assert await status(daemon) == 0
    assert "out of system resource" not in daemon.log.read_text(), "it waited, and did not try again and again"
    verdict = await auditor.verdict(products)
    assert verdict.broken == {}
    assert set(verdict.responses) == {task.lower() for task in products}
    assert await world.reader.integrity_check() == []
