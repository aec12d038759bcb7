"""Random kills while tasks come in: nothing lost, nothing doubled, the journal whole."""

import asyncio
import random

import pytest

from ogpu_provider.domain.task import TaskState
from ogpu_provider.domain.units import Address
from tests.crash.conftest import Crashing
from tests.sizes import size
from tests.waiting import until

TASKS = size("storm tasks")
pytestmark = [
    pytest.mark.devnet,
    pytest.mark.docker,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(120 + 30 * TASKS),
]
INSTANCE = "storm"
SEED = 20


async def test_a_storm_of_kills_loses_nothing_and_doubles_nothing(world: Crashing) -> None:
    dice = random.Random(SEED)
    life = 60.0 + 6 * TASKS
    tasks: list[Address] = []
    over = asyncio.Event()
    kills = 0

    async def storm() -> None:
        nonlocal kills
        while not over.is_set():
            await asyncio.sleep(dice.uniform(0.2, 3.0))
            await world.daemon.kill()
            kills += 1
            await world.daemon.start()

    async def publish() -> None:
        for n in range(TASKS):
            tasks.append(await world.multiply(n, 7, life=life))
            await asyncio.sleep(dice.uniform(0.0, 0.6))

    raging = asyncio.create_task(storm())
    await publish()
    await asyncio.sleep(3.0)
    over.set()
    await raging
    assert kills >= TASKS // 3

    async def settled() -> bool:
        world.daemon.check()
        rows = [await world.reader.task(task) for task in tasks]
        ended = [row for row in rows if row is not None and row.state.over]
        wrong = [(row.address, row.state, row.code) for row in ended if row.state is not TaskState.SETTLED]
        assert not wrong, wrong
        return len(ended) == len(tasks)

    await until(settled, life + 30, "every task to be settled")
    await world.audit()
    print(f"storm: {len(tasks)} tasks, {kills} kills, seed {SEED}")
