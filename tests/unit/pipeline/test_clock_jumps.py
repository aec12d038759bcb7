"""The machine's clock jumps, or stands far from the chain's. Deadlines count in whichever is ahead, pauses by a clock
that never jumps: a clock that is behind costs nothing, one that is a day ahead takes no tasks and says why, and neither
has an effect twice.
"""

import pytest

from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.intent import Effect
from ogpu_provider.domain.task import TaskState
from ogpu_provider.domain.units import Address
from tests.fakes.chain import FakeChain
from tests.fakes.clock import FakeClock
from tests.unit.pipeline.stage import Daemon, Outside, running, serving

S = TaskState
DAY = 86_400.0
HARMLESS = (262.0, -262.0, -DAY)
"""Seconds; a task here has 600, and the chain's own time counts where the machine's is behind."""
MOMENTS = ("before it comes", "while it is computed", "before its transactions", "before its depth")


class WallClock(FakeClock):
    """Wall time is `off` by so many seconds; `monotonic` and pauses know nothing of it."""

    off = 0.0

    def now(self) -> float:
        return super().now() + self.off


class ChainTime(FakeClock):
    """What validators' clocks say meanwhile."""

    def __init__(self, wall: WallClock) -> None:
        self._wall = wall

    def now(self) -> float:
        return self._wall.monotonic()


@pytest.fixture
def clock() -> WallClock:
    return WallClock()


@pytest.fixture
def outside(clock: WallClock) -> Outside:
    made = Outside(clock=clock)
    time: Clock = ChainTime(clock)
    made.chain = FakeChain(time)
    return made


async def a_life(daemon: Daemon, source: Address, clock: WallClock, jump: float = 0.0, moment: str = "") -> Address:
    """A task to its end, with a jump at a moment; a block every second."""
    outside = daemon.outside
    outside.runtime.scripts[source].answers = moment != MOMENTS[1]
    if moment == MOMENTS[0]:
        clock.off += jump
    task = await daemon.publish(source)
    if moment == MOMENTS[1]:
        clock.off += jump
        await clock.advance(1)
        await daemon.block()
        await daemon.results.accept(source, task, b'{"result": 42}')
    if moment == MOMENTS[2]:
        clock.off += jump
    effects: list[Effect] = []
    for n in range(6):
        await clock.advance(1)
        effects += await daemon.mine()
        if moment == MOMENTS[3] and n == 0:
            clock.off += jump
        await daemon.confirm()
    assert len(effects) == len(set(effects)), "no effect was planned twice"
    return task


@pytest.mark.parametrize("jump", HARMLESS)
@pytest.mark.parametrize("moment", MOMENTS)
async def test_minutes_either_way_and_a_clock_that_is_behind_cost_nothing(
    outside: Outside, clock: WallClock, jump: float, moment: str
) -> None:
    source = outside.source()
    async with running(outside) as daemon:
        await serving(daemon, source)
        task = await a_life(daemon, source, clock, jump, moment)
        assert await daemon.state(task) is S.SETTLED
        clock.off -= jump
        again = await a_life(daemon, source, clock)
        assert await daemon.state(again) is S.SETTLED


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_day_ahead_no_task_is_taken_and_afterwards_all_is_as_before(
    outside: Outside, clock: WallClock, moment: str
) -> None:
    source = outside.source()
    async with running(outside) as daemon:
        await serving(daemon, source)
        task = await a_life(daemon, source, clock, DAY, moment)
        row = await daemon.task(task)
        assert row.state is S.SETTLED or row.code in {"time.expired", "execute.no_result", "submit.late"}, row
        refused = await daemon.task(await a_life(daemon, source, clock))
        assert (refused.state, refused.code) == (S.DECLINED, "time.expired")
        clock.off = 0.0
        assert await daemon.state(await a_life(daemon, source, clock)) is S.SETTLED
        assert daemon.leases == [f"source:{source}"]


async def test_a_restart_beside_a_wrong_clock_goes_on_with_what_is_owed(outside: Outside, clock: WallClock) -> None:
    source = outside.source(answers=False)
    async with running(outside) as daemon:
        await serving(daemon, source)
        task = await daemon.publish(source)
        await daemon.mine()
    clock.off = -DAY
    async with running(outside) as daemon:
        await daemon.block()
        await daemon.reckoning.recover(task)
        await daemon.results.accept(source, task, b'{"result": 42}')
        for _ in range(6):
            await clock.advance(1)
            await daemon.mine()
            await daemon.confirm()
        assert await daemon.state(task) is S.SETTLED
    assert len(outside.runtime.dispatched) == 1
