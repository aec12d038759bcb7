"""kill -9 of a real daemon at every kill point, then a restart: paid, attempted once, answered once."""

import time

import pytest

from ogpu_provider.domain.killpoints import POINTS
from ogpu_provider.domain.task import TaskState
from tests.crash.conftest import Crashing
from tests.waiting import until

pytestmark = [
    pytest.mark.devnet,
    pytest.mark.docker,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(300),
]
INSTANCE = "crash"
LIFE_S = 60.0
RESUMED_S = 10.0
"""From the start of the second daemon to the end of the task, blocks and confirmation included."""


@pytest.mark.parametrize("point", POINTS)
async def test_a_task_survives_the_daemons_death_at(point: str, world: Crashing) -> None:
    if world.daemon.exit_code is not None or not world.armable:
        await world.daemon.stop()
        await world.daemon.start(world.entry)
        world.armable = True
        first = await world.publish("multiply", "multiply", {"a": 1, "b": 1}, life=LIFE_S)
        await world.reaches(first, TaskState.SETTLED)
    await world.arm(point)
    name = "manual" if "responded" in point else "multiply"
    task = await world.publish(name, "multiply", {"a": 6, "b": len(point)}, life=LIFE_S)
    await until(world.daemon.died, 60, f"the daemon to die at {point}", 0.02)
    assert world.daemon.exit_code == -9
    started = time.monotonic()
    await world.daemon.start(world.entry)
    if name == "manual":
        row = await world.reaches(task, TaskState.RESPONDED)
        await world.client.call("confirm", response=row.response)
    await world.reaches(task, TaskState.SETTLED)
    assert time.monotonic() - started < RESUMED_S
    await world.audit(task, 6 * len(point))
