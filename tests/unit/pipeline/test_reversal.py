"""What the path does when blocks are undone, a log turns out false, or no endpoint answers."""

import asyncio

import pytest

from ogpu_provider.domain.errors import RpcRejected, RpcUnavailable
from ogpu_provider.domain.facts import Attempted, Block, Origin, ProviderRemoved
from ogpu_provider.domain.intent import Effect, IntentState
from ogpu_provider.domain.source import DeliveryMethod, SourceState
from ogpu_provider.domain.task import TaskState
from ogpu_provider.domain.units import Address, Hash
from ogpu_provider.pipeline.census import Census
from tests.fakes.chain import OTHER, US
from tests.fakes.clock import settle
from tests.unit.pipeline.stage import CONFIG, Daemon, Outside, running, serving

S = TaskState
DOWN = RpcUnavailable("no endpoint answers")


@pytest.fixture
def outside() -> Outside:
    return Outside()


def block(number: int) -> Block:
    return Block(number, Hash(f"0x{number + (7 << 100):064x}"), Hash("0x"), 0)


async def undo(daemon: Daemon, depth: int) -> None:
    """The newest `depth` blocks are gone."""
    daemon.outside.chain.height -= depth
    await daemon.intake.undo(block(daemon.outside.chain.height))
    await settle()


async def test_work_on_a_task_that_was_undone_stops_and_goes_on_when_it_comes_back(outside: Outside) -> None:
    source = outside.source()
    async with running(outside, slots=1) as daemon:
        await serving(daemon, source)
        outside.runtime.scripts[source].answers = False
        first = await daemon.publish(source)
        waiting = await daemon.publish(source)  # for the only slot
        assert [await daemon.state(first), await daemon.state(waiting)] == [S.EXECUTING, S.SEEN]
        await undo(daemon, 1)
        row = await daemon.task(waiting)
        assert (row.state, row.code) == (S.DECLINED, "chain.undone")
        assert await daemon.state(first) is S.EXECUTING
        fact = outside.chain.publish_task(source, config_url=CONFIG)
        again = type(fact)(fact.origin, waiting, source)
        await daemon.block(again)
        assert await daemon.state(waiting) is S.SEEN


async def test_an_attempted_task_goes_on_although_its_block_was_undone(outside: Outside) -> None:
    source = outside.source(answers=False)
    async with running(outside) as daemon:
        await serving(daemon, source)
        task = await daemon.publish(source)
        await undo(daemon, 1)
        assert await daemon.state(task) is S.EXECUTING


async def test_a_payment_that_was_undone_is_waited_for_again(outside: Outside) -> None:
    source = outside.source()
    async with running(outside) as daemon:
        await serving(daemon, source)
        task = await daemon.publish(source)
        await daemon.mine()
        assert (await daemon.task(task)).finalized_block is not None
        await undo(daemon, 1)
        row = await daemon.task(task)
        assert (row.state, row.finalized_block, row.response) == (S.SUBMITTED, None, None)
        for _ in range(3):
            await daemon.block()
        assert await daemon.state(task) is S.SUBMITTED


@pytest.mark.parametrize("sender_first", [False, True])
async def test_a_response_that_was_undone_is_waited_for_again(outside: Outside, sender_first: bool) -> None:
    source = outside.source(DeliveryMethod.MANUAL_CONFIRMATION)
    async with running(outside) as daemon:
        await serving(daemon, source)
        task = await daemon.publish(source)
        await daemon.mine()
        assert await daemon.state(task) is S.RESPONDED
        if sender_first:  # it has heard of it, and its row names no block any more
            submit = (await outside.journal.intents_of(task))[-1].intent
            assert submit.effect is Effect.SUBMIT_RESPONSE
            assert (await outside.journal.set_state(submit.key, IntentState.SENT, at=0.0)).block_number is None
        await undo(daemon, 1)
        row = await daemon.task(task)
        assert (row.state, row.response) == (S.SUBMITTED, None)


@pytest.mark.parametrize("disproved", [False, True])
async def test_a_loss_that_was_undone_or_never_was_is_none(outside: Outside, disproved: bool) -> None:
    source = outside.source(answers=False)
    async with running(outside) as daemon:
        await serving(daemon, source)
        task = await daemon.publish(source)
        await daemon.mine()
        before = outside.chain._tasks[task].view
        outside.chain.attempt(task, OTHER)
        facts = outside.chain.submit(task, OTHER)
        await daemon.block(*facts)
        assert await daemon.state(task) is S.LOST
        outside.chain._tasks[task].view = before
        if disproved:
            assert [fact for fact in facts if daemon.intake.costs(fact)] == facts[-1:]
            await daemon.intake.disprove(block(facts[-1].origin.block_number), facts)
            await settle()
        else:
            await undo(daemon, 2)
        assert await daemon.state(task) is S.EXECUTING
        assert [row.intent.effect for row in await outside.journal.intents_of(task)] == [Effect.ATTEMPT]
    states = [line.after for line in await outside.journal.history(task)]
    assert states[-5:] == [S.SEEN, S.ADMITTED, S.READY, S.ATTEMPTED, S.EXECUTING]


async def test_a_cancellation_that_comes_back_in_another_block_ends_it_again(outside: Outside) -> None:
    source = outside.source(answers=False)
    async with running(outside) as daemon:
        await serving(daemon, source)
        task = await daemon.publish(source)
        await daemon.block(outside.chain.cancel(task))
        assert await daemon.state(task) is S.CANCELED
        await undo(daemon, 2)
        assert await daemon.state(task) is S.CANCELED, "the chain still says so"
        assert S.SEEN in [line.after for line in await outside.journal.history(task)][1:]


async def test_a_forged_task_is_dropped_before_the_attempt_and_found_again_if_it_was_true(outside: Outside) -> None:
    source = outside.source(answers=False)
    async with running(outside, slots=1) as daemon:
        await serving(daemon, source)
        busy = await daemon.publish(source)
        fact = outside.chain.publish_task(source, config_url=CONFIG)
        await daemon.block(fact)
        await daemon.intake.disprove(block(fact.origin.block_number), [fact])
        await settle()
        row = await daemon.task(fact.task)
        assert (row.state, row.code) == (S.DECLINED, "chain.disproved")
        await daemon.block(fact)
        assert await daemon.state(fact.task) is S.DECLINED, "the same word again proves nothing"
        await Census(daemon.ports, daemon.reckoning, daemon.intake).count()
        await settle()
        assert await daemon.state(fact.task) is S.SEEN
        attempted = await daemon.task(busy)
        told = type(fact)(fact.origin, busy, source)
        await daemon.intake.disprove(block(attempted.seen_block), [told])
        assert await daemon.state(busy) is S.EXECUTING, "what was promised is not dropped on one word"


async def test_a_task_whose_log_was_lost_is_found_by_the_census(outside: Outside) -> None:
    source = outside.source()
    async with running(outside) as daemon:
        await serving(daemon, source)
        task = outside.chain.publish_task(source, config_url=CONFIG).task
        await daemon.block()
        assert await outside.journal.task(task) is None
        await Census(daemon.ports, daemon.reckoning, daemon.intake).count()
        await settle()
        assert await daemon.state(task) is S.SUBMITTED


async def test_an_end_whose_log_was_lost_is_found_by_the_census(outside: Outside) -> None:
    source = outside.source(answers=False)
    async with running(outside) as daemon:
        await serving(daemon, source)
        task = await daemon.publish(source)
        await daemon.mine()
        outside.chain.attempt(task, OTHER)
        outside.chain.submit(task, OTHER)
        await outside.clock.advance(200)
        await Census(daemon.ports, daemon.reckoning, daemon.intake).count()
        await settle()
        assert await daemon.state(task) is S.LOST


async def test_a_census_without_an_endpoint_changes_nothing(outside: Outside) -> None:
    source = outside.source(answers=False)
    async with running(outside) as daemon:
        await serving(daemon, source)
        task = await daemon.publish(source)
        await outside.clock.advance(200)
        outside.chain.failures = [DOWN, DOWN]
        await Census(daemon.ports, daemon.reckoning, daemon.intake).count()
        assert await daemon.state(task) is S.EXECUTING


async def test_a_task_waits_while_no_endpoint_answers(outside: Outside) -> None:
    source = outside.source()
    async with running(outside) as daemon:
        await serving(daemon, source)
        outside.chain.failures = [DOWN] * 8
        task = await daemon.publish(source)
        await outside.clock.advance(20)
        assert await daemon.state(task) is S.SEEN
        await outside.clock.advance(20)
        assert await daemon.state(task) is S.SUBMITTED


async def test_a_source_stays_what_it_is_while_no_endpoint_answers(outside: Outside) -> None:
    source = outside.source()
    async with running(outside) as daemon:
        await serving(daemon, source)
        outside.chain.failures = [DOWN] * 3
        daemon.keeper.changed(source)
        await settle()
        row = daemon.ports.book.get(source)
        assert row is not None
        assert row.state is SourceState.READY


async def test_a_start_without_an_endpoint_is_made_up_for_when_one_answers(outside: Outside) -> None:
    source = outside.source()
    outside.chain.failures = [DOWN] * 6
    async with running(outside) as daemon:
        await settle()
        for _ in range(8):
            await outside.clock.advance(16)
        await serving(daemon, source)


async def test_an_attempt_of_what_is_no_task_does_not_stop_the_reading(outside: Outside) -> None:
    source = outside.source()
    async with running(outside) as daemon:
        await serving(daemon, source)
        nobody = Address("0x" + "d4" * 20)
        forged = Attempted(Origin(1, Hash("0x01"), Hash("0x02"), 0), nobody, US, 1)
        outside.chain.failures = [RpcRejected("no such contract")]
        await daemon.block(forged)
        assert await outside.journal.task(nobody) is None
        assert await daemon.state(await daemon.publish(source)) is S.SUBMITTED


async def test_open_tasks_are_counted_every_three_minutes_and_seldom_while_none_is_live(outside: Outside) -> None:
    source = outside.source()
    async with running(outside) as daemon:
        await serving(daemon, source)
        await daemon.block()
        census = asyncio.ensure_future(Census(daemon.ports, daemon.reckoning, daemon.intake).run())
        await settle()
        outside.chain.calls.clear()
        await outside.clock.advance(4 * 180)
        assert outside.chain.calls["open_tasks"] == 0
        await outside.clock.advance(180)
        assert outside.chain.calls["open_tasks"] == 1
        await daemon.publish(source, lasts=3600)
        await outside.clock.advance(180)
        assert outside.chain.calls["open_tasks"] == 2
        census.cancel()


async def test_what_was_said_of_a_source_and_of_the_pairing_is_taken_back(outside: Outside) -> None:
    removed, retired, kept = outside.source(), outside.source(), outside.source()
    async with running(outside) as daemon:
        for source in (removed, retired, kept):
            await serving(daemon, source)
        before = outside.chain._sources[retired]
        await daemon.block(outside.chain.remove_container(removed))
        await daemon.block(outside.chain.inactivate_source(retired))
        await daemon.block(ProviderRemoved(outside.chain._origin(), US))
        assert [daemon.ports.book.get(one).state for one in (removed, retired)] == [SourceState.DROPPED] * 2  # type: ignore[union-attr]
        assert not daemon.ports.book.paired
        outside.chain._sources[retired] = before
        await undo(daemon, 4)  # a fact here names the block before the one that it is delivered with
        for source in (removed, retired, kept):
            await serving(daemon, source)
        assert daemon.ports.book.paired
        await undo(daemon, 0)
        assert outside.runtime.stopped == [removed, retired], "nothing is taken back twice"


async def test_what_lies_deeper_than_the_undone_blocks_stays(outside: Outside) -> None:
    source = outside.source()
    async with running(outside) as daemon:
        await serving(daemon, source)
        await daemon.block(outside.chain.remove_container(source))
        await daemon.block()
        await undo(daemon, 1)
        row = daemon.ports.book.get(source)
        assert row is not None
        assert row.state is SourceState.DROPPED


@pytest.mark.parametrize("comes_back", [False, True])
async def test_an_agents_promise_that_was_undone_is_made_by_ourselves_unless_it_comes_back(
    outside: Outside, comes_back: bool
) -> None:
    source = outside.source(answers=False)
    async with running(outside, slots=1) as daemon:
        await serving(daemon, source)
        holder, task = await daemon.publish(source), await daemon.publish(source)
        await daemon.block()
        await daemon.block(*outside.chain.attempt(task))
        await daemon.results.accept(source, holder, b"{}")
        await settle()
        assert [(await daemon.task(task)).obliged, await daemon.state(task)] == [True, S.EXECUTING]
        outside.chain._tasks[task].attempters.clear()
        await undo(daemon, 2)
        await daemon.block(*(outside.chain.attempt(task) if comes_back else ()))
        for _ in range(3):
            await daemon.block()
        planned = [row.intent.effect for row in await outside.journal.intents_of(task)]
        assert planned == ([] if comes_back else [Effect.ATTEMPT])


async def test_an_attempt_that_fails_because_its_task_is_gone_ends_the_work(outside: Outside) -> None:
    source = outside.source(answers=False)
    async with running(outside) as daemon:
        await serving(daemon, source)
        task = await daemon.publish(source)
        del outside.chain._tasks[task]
        await undo(daemon, 1)
        [attempt] = await outside.journal.intents_of(task)
        await daemon.sign()
        failed = await outside.journal.set_state(attempt.intent.key, IntentState.REVERTED, at=outside.clock.now())
        await daemon.reckoning.on_intent(failed)
        await settle()
        row = await daemon.task(task)
        assert (row.state, row.code) == (S.FAILED, "chain.undone")
