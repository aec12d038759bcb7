"""Who gets in when there is room again: by value for each second, and nobody waits for ever."""

from ogpu_provider.domain.admission import Candidate
from ogpu_provider.domain.source import DeliveryMethod
from ogpu_provider.domain.task import TaskState
from ogpu_provider.domain.units import COIN, Address
from ogpu_provider.scheduler.circumstances import Circumstances
from ogpu_provider.scheduler.estimate import Estimate
from ogpu_provider.scheduler.line import LinePolicy
from tests.fakes.clock import settle
from tests.unit.pipeline.stage import Daemon, Outside, running, serving

S = TaskState
MANUAL = DeliveryMethod.MANUAL_CONFIRMATION


def assess(_: Candidate) -> Circumstances:
    return Circumstances(estimate=Estimate(run=10.0))


async def end(daemon: Daemon, source: Address, task: Address) -> None:
    await daemon.results.accept(source, task, b"{}")
    await settle()


async def states(daemon: Daemon, *tasks: Address) -> list[S]:
    return [await daemon.state(task) for task in tasks]


async def test_the_most_valuable_goes_first_and_the_patient_before_it() -> None:
    outside = Outside()
    source = outside.source(MANUAL, answers=False)
    async with running(outside, slots=1, assess=assess, line=LinePolicy(patience=60)) as daemon:
        await serving(daemon, source)
        holder = await daemon.publish(source, lasts=3000)
        cheap, dear, dearest = [await daemon.publish(source, payment=n * COIN, lasts=3000) for n in (1, 2, 3)]
        await end(daemon, source, holder)
        assert await states(daemon, cheap, dear, dearest) == [S.SEEN, S.SEEN, S.EXECUTING]
        await outside.clock.advance(61)
        late = await daemon.publish(source, payment=9 * COIN, lasts=3000)
        await end(daemon, source, dearest)
        assert await states(daemon, cheap, dear, late) == [S.EXECUTING, S.SEEN, S.SEEN], "it has waited for long enough"
        await end(daemon, source, cheap)
        assert await states(daemon, dear, late) == [S.EXECUTING, S.SEEN]


async def test_across_sources_too() -> None:
    outside = Outside()
    sources = [outside.source(MANUAL, answers=False) for _ in range(3)]
    async with running(outside, slots=1, assess=assess, line=LinePolicy()) as daemon:
        for source in sources:
            await serving(daemon, source)
        holder = await daemon.publish(sources[0])
        cheap = await daemon.publish(sources[1], payment=COIN)
        dear = await daemon.publish(sources[2], payment=2 * COIN)
        await end(daemon, sources[0], holder)
        assert await states(daemon, cheap, dear) == [S.SEEN, S.EXECUTING]


async def test_a_full_line_refuses_what_is_worth_the_least_with_the_setting_that_would_have_kept_it() -> None:
    outside = Outside()
    source = outside.source(MANUAL, answers=False)
    async with running(outside, slots=1, assess=assess, line=LinePolicy(limit=2)) as daemon:
        await serving(daemon, source)
        holder = await daemon.publish(source)
        first, second, third = [await daemon.publish(source, payment=n * COIN) for n in (2, 3, 1)]
        assert await states(daemon, first, second, third) == [S.SEEN, S.SEEN, S.DECLINED]
        fourth = await daemon.publish(source, payment=5 * COIN)
        assert await states(daemon, first, second, fourth) == [S.DECLINED, S.SEEN, S.SEEN]
        row = await daemon.task(first)
        assert row.code == "capacity.line"
        lines = await outside.journal.history(first)
        assert lines[-1].detail["rulings"][-1][3] == "admission.line = 3"  # type: ignore[index]
        await end(daemon, source, holder)
        assert await states(daemon, second, fourth) == [S.SEEN, S.EXECUTING]


async def test_what_is_owed_is_never_refused_for_a_full_line() -> None:
    outside = Outside()
    source = outside.source(MANUAL, answers=False)
    async with running(outside, slots=1, assess=assess, line=LinePolicy(limit=1)) as daemon:
        await serving(daemon, source)
        await daemon.publish(source)
        waiting = await daemon.publish(source, payment=5 * COIN)
        published = outside.chain.publish_task(source, payment=1, config_url="https://example.org/c.json")
        await daemon.block(published, *outside.chain.attempt(published.task))
        assert (await daemon.task(published.task)).obliged
        assert await states(daemon, waiting, published.task) == [S.DECLINED, S.SEEN]
