"""kill -9 of a real daemon at every kill point, then a restart: paid, attempted once, answered once."""

from collections.abc import Callable

import pytest

from ogpu_provider.control.client import ControlClient
from ogpu_provider.domain.killpoints import POINTS
from ogpu_provider.domain.task import TaskState
from ogpu_provider.domain.units import Address
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
"""By the daemon's own clock: from the start of the second daemon to its first step with the task."""


@pytest.mark.parametrize("point", POINTS)
async def test_a_task_survives_the_daemons_death_at(
    point: str, world: Crashing, record_property: Callable[[str, object], None]
) -> None:
    if world.daemon.exit_code is not None or not world.armable:
        await world.daemon.stop()
        await world.daemon.start(world.entry)
        world.armable = True
        first = await world.multiply(1, 1, life=LIFE_S)
        await world.reaches(first, TaskState.SETTLED)
    await world.arm(point)
    name = "manual" if "responded" in point else "multiply"
    task = await world.multiply(6, len(point), source=name, life=LIFE_S)
    await until(world.daemon.died, 120, f"the daemon to die at {point}", 0.02)
    assert world.daemon.exit_code == -9
    row = await world.reader.task(task)
    over = row is not None and row.state.over
    before = {line.boot for line in await world.reader.history(task)}
    await world.daemon.start(world.entry)
    if name == "manual":
        row = await world.reaches(task, TaskState.RESPONDED)
        await world.client.call("confirm", response=row.response)
    await world.reaches(task, TaskState.SETTLED)
    if not over:
        resumed = await _resumed(world, task, before)
        record_property("resumed_s", resumed)
        assert resumed < RESUMED_S
    await world.audit()


async def _resumed(world: Crashing, task: Address, boots: set[str]) -> float:
    """Seconds of the daemon's own clock until its first step with the task; `boots` were before it."""
    started: float = (await ControlClient(world.daemon.data_dir).ask("status"))["started_at"]
    steps = [line.at for line in await world.reader.history(task) if line.boot not in boots]
    return min(steps) - started
