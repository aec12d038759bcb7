"""Two whole daemons where there may be one: over one data directory, with one key, and with one key on two hosts."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from ogpu_provider.devnet.engine import remove_instance
from ogpu_provider.domain.task import TaskState
from ogpu_provider.domain.units import Address
from ogpu_provider.environment import others
from tests.faults.scene import Scene
from tests.waiting import until

FIRST, TWIN = (f"{name}-{os.getpid()}" for name in ("twins-a", "twins-b"))
pytestmark = [pytest.mark.devnet, pytest.mark.docker, pytest.mark.timeout(600)]


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as opened:
        yield opened
    for instance in (FIRST, TWIN):
        await remove_instance(instance)


async def refused(config: Path) -> str:
    """What a daemon says that does not start."""
    command = (sys.executable, "-m", "ogpu_provider.cli.main", "run", "--config", str(config))
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command, env=others(), stdout=pipe, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode not in (0, None)
    return said.decode()


async def test_of_two_daemons_one_ends_and_says_why(tmp_path: Path, stack: AsyncExitStack) -> None:
    scene = await Scene.open(stack, tmp_path / "network", block_time=0.5)
    first = await scene.daemon(tmp_path / "first", FIRST)
    auditor = await scene.auditor(first, FIRST)
    world = await scene.world(first)

    assert "store.locked" in await refused(first.config)
    twin = await scene.daemon(tmp_path / "twin", TWIN)
    await until(twin.died, 120, "the second daemon to end")
    assert twin.exit_code != 0
    assert "key.in_use" in twin.log.read_text()
    first.check()

    task = await world.publish("multiply", "multiply", {"a": 6, "b": 7})
    await world.reaches(task, TaskState.SETTLED, timeout=120)
    verdict = await auditor.verdict({task: {"result": 42}})
    assert verdict.broken == {}

    # as another host, which this one's kernel does not know of
    abroad = await scene.daemon(tmp_path / "twin", TWIN, await scene.proxy())
    await scene.world(abroad)
    tasks: list[Address] = []

    async def one_ended() -> bool:
        if first.exit_code is None and abroad.exit_code is None:
            tasks.append(await world.publish("multiply", "multiply", {"a": len(tasks), "b": 2}))
            await asyncio.sleep(1)
        return first.exit_code is not None or abroad.exit_code is not None

    await until(one_ended, 240, "one of two daemons to see that its key is used elsewhere")
    ended = first if first.exit_code is not None else abroad
    assert ended.exit_code != 0
    assert "chain.foreign_nonce" in ended.log.read_text()
    verdict = await auditor.verdict({})
    for done in (verdict.attempts, verdict.responses):
        assert len(done) == len(set(done))
