"""Who looks when there is room again: the longest waiting task of each source, and not all that wait."""

from dataclasses import dataclass

from ogpu_provider.domain.errors import EngineError, Retry
from ogpu_provider.domain.task import TaskState
from ogpu_provider.domain.units import Address
from tests.fakes.clock import settle
from tests.fakes.runtime import FakeContract, FakeRuntime
from tests.unit.pipeline.stage import CONFIG, Outside, running, serving

S = TaskState
TASKS = 60


@dataclass(slots=True)
class WatchedRuntime(FakeRuntime):
    """`looks`: how often a task was looked at. The next `stumbles` of them fail."""

    looks: int = 0
    stumbles: int = 0

    async def contract(self, source: Address) -> FakeContract | None:
        self.looks += 1
        if self.stumbles:
            self.stumbles -= 1
            raise EngineError("busy", code="engine.busy", retry=Retry.LATER)
        return await FakeRuntime.contract(self, source)


def watched() -> tuple[Outside, WatchedRuntime]:
    runtime = WatchedRuntime()
    return Outside(runtime=runtime), runtime


async def test_a_burst_costs_a_few_looks_a_task_and_goes_by_age() -> None:
    outside, runtime = watched()
    source = outside.source()
    async with running(outside, slots=1) as daemon:
        await serving(daemon, source)
        made = [outside.chain.publish_task(source, config_url=CONFIG) for _ in range(TASKS)]
        await daemon.block(*made)
        for _ in range(TASKS):
            await settle()
        assert [await daemon.state(fact.task) for fact in made] == [S.SUBMITTED] * TASKS
        assert [one.task for one in runtime.dispatched] == [fact.task for fact in made]
        assert runtime.looks <= 4 * TASKS


async def test_room_goes_to_another_source_too() -> None:
    outside, _ = watched()
    silent, quick = outside.source(answers=False), outside.source()
    async with running(outside, slots=1) as daemon:
        await serving(daemon, silent)
        await serving(daemon, quick)
        holder = await daemon.publish(silent, lasts=300)
        behind = [await daemon.publish(source) for source in (quick, quick)]
        assert await daemon.state(holder) is S.EXECUTING
        assert {await daemon.state(task) for task in behind} == {S.SEEN}
        await outside.clock.advance(300)
        assert await daemon.state(holder) is S.FAILED
        assert {await daemon.state(task) for task in behind} == {S.SUBMITTED}


async def test_one_that_stumbles_when_there_is_room_does_not_keep_it_from_the_next() -> None:
    outside, runtime = watched()
    source = outside.source(answers=False)
    async with running(outside, slots=1) as daemon:
        await serving(daemon, source)
        holder = await daemon.publish(source)
        first, second = await daemon.publish(source), await daemon.publish(source)
        runtime.stumbles = 1
        await daemon.results.accept(source, holder, b"{}")
        await settle()
        assert [await daemon.state(task) for task in (first, second)] == [S.SEEN, S.EXECUTING]


async def test_one_that_ends_while_it_is_first_lets_the_next_look() -> None:
    outside, _ = watched()
    source = outside.source(answers=False)
    async with running(outside, slots=1) as daemon:
        await serving(daemon, source)
        holder = await daemon.publish(source, lasts=300)
        first, second = await daemon.publish(source), await daemon.publish(source)
        await daemon.block(outside.chain.cancel(first))
        assert await daemon.state(first) is S.CANCELED
        await outside.clock.advance(300)
        assert [await daemon.state(task) for task in (holder, second)] == [S.FAILED, S.EXECUTING]
