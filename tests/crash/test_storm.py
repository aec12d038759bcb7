"""Random kills while tasks come in: nothing lost, nothing doubled, the journal whole."""

import asyncio
import random
from functools import partial

import pytest

from ogpu_provider.domain.task import TaskState
from ogpu_provider.domain.units import Address
from tests.crash.conftest import Crashing
from tests.sizes import size
from tests.waiting import until

TASKS = size("storm tasks")
KILLS = max(2, TASKS // 3)
"""At least; half of them at a daemon that had started, however slow the machine is."""
pytestmark = [
    pytest.mark.devnet,
    pytest.mark.docker,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(120 + 30 * TASKS),
]
INSTANCE = "storm"
SEED = 20
START_S = 120.0


class Storm:
    """Kills every 0.2 to 3 s; every other time counted from when the daemon has started, not from its first breath."""

    def __init__(self, world: Crashing) -> None:
        self._world = world
        self._dice = random.Random(SEED)
        self.over = asyncio.Event()
        self.kills = 0
        self.while_up = 0

    async def rage(self) -> None:
        while not self.over.is_set() or self.kills < KILLS:
            begun = self._log_size()
            if self.kills % 2 == 0:
                await until(partial(self._started, begun), START_S, "the daemon to start")
            await asyncio.sleep(self._dice.uniform(0.2, 3.0))
            self.while_up += await self._started(begun)
            await self._world.daemon.kill()
            self.kills += 1
            await self._world.daemon.start()

    def _log_size(self) -> int:
        return self._world.daemon.log.stat().st_size

    async def _started(self, since: int) -> bool:
        with self._world.daemon.log.open("rb") as log:
            log.seek(since)
            return b'"daemon_started"' in log.read()


async def test_a_storm_of_kills_loses_nothing_and_doubles_nothing(world: Crashing) -> None:
    dice = random.Random(SEED)
    life = 300.0 + 6 * TASKS
    tasks: list[Address] = []
    storm = Storm(world)
    await world.daemon.kill()
    await world.daemon.start()
    raging = asyncio.create_task(storm.rage())
    for n in range(TASKS):
        tasks.append(await world.multiply(n, 7, life=life))
        await asyncio.sleep(dice.uniform(0.0, 0.6))
    storm.over.set()
    await raging

    async def settled() -> bool:
        world.daemon.check()
        rows = [await world.reader.task(task) for task in tasks]
        ended = [row for row in rows if row is not None and row.state.over]
        wrong = [(row.address, row.state, row.code) for row in ended if row.state is not TaskState.SETTLED]
        assert not wrong, wrong
        return len(ended) == len(tasks)

    await until(settled, life + 30, "every task to be settled")
    await world.audit()
    assert storm.while_up >= KILLS // 2
    print(f"storm: {len(tasks)} tasks, {storm.kills} kills, {storm.while_up} of them while it was up, seed {SEED}")
