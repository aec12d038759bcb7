"""What a new daemon makes of the journal of one that died: each state a task may have been left in."""

import asyncio
from collections.abc import Callable

import pytest

from ogpu_provider.domain.intent import Effect, IntentState
from ogpu_provider.domain.task import ResultOutcome, TaskState
from ogpu_provider.domain.units import Address
from ogpu_provider.pipeline.resumption import PAUSE_S, resume
from tests.fakes.chain import OTHER, US
from tests.fakes.clock import settle
from tests.unit.pipeline.stage import CONFIG, Daemon, Outside, running, serving

S = TaskState


@pytest.fixture
def outside() -> Outside:
    return Outside()


async def finish(daemon: Daemon) -> list[Effect]:
    effects = await daemon.mine()
    await daemon.block()
    await daemon.confirm()
    return effects


async def test_a_task_seen_before_the_restart_is_read_in_full(outside: Outside) -> None:
    source = outside.source(answers=False)
    async with running(outside, slots=1) as daemon:
        await serving(daemon, source)
        await daemon.publish(source)
        waiting = await daemon.publish(source)
        assert await daemon.state(waiting) is S.SEEN
    outside.chain.attempt(waiting, OTHER)
    outside.chain.submit(waiting, OTHER)
    async with running(outside) as daemon:
        await settle()
        await daemon.reckoning.recover(waiting)
        assert await daemon.state(waiting) is S.LOST


async def test_a_dispatched_task_waits_half_of_its_time_and_is_dispatched_once_more(outside: Outside) -> None:
    source = outside.source(answers=False)
    async with running(outside) as daemon:
        await serving(daemon, source)
        task = await daemon.publish(source, lasts=110)
        await daemon.mine()
        assert len(outside.runtime.dispatched) == 1
    outside.runtime.scripts[source].answers = True
    async with running(outside) as daemon:
        await outside.clock.advance(40)
        assert await daemon.state(task) is S.EXECUTING
        assert len(outside.runtime.dispatched) == 1, "its result may still arrive"
        await outside.clock.advance(15)
        assert len(outside.runtime.dispatched) == 2
        assert await daemon.state(task) is S.SUBMITTED
        assert await finish(daemon) == [Effect.SUBMIT_RESPONSE]
        assert await daemon.state(task) is S.SETTLED


async def test_a_dispatched_task_waits_no_longer_than_such_results_take(outside: Outside) -> None:
    source = outside.source(answers=False)
    async with running(outside) as daemon:
        await serving(daemon, source)
        known = await daemon.publish(source)
        await outside.clock.advance(4)
        await daemon.results.accept(source, known, b'{"result": 42}')
        task = await daemon.publish(source, lasts=3600)
        assert len(outside.runtime.dispatched) == 2
    outside.runtime.scripts[source].answers = True
    async with running(outside) as daemon:
        await outside.clock.advance(11)
        assert await daemon.state(task) is S.EXECUTING, "its result may still arrive"
        await outside.clock.advance(2)
        assert await daemon.state(task) is S.SUBMITTED
        assert len(outside.runtime.dispatched) == 3


async def test_an_outcome_that_nobody_was_told_of_ends_the_task(outside: Outside) -> None:
    """The transaction failed and the daemon died before the path heard of it."""
    source = outside.source(answers=False)
    async with running(outside) as daemon:
        await serving(daemon, source)
        task = await daemon.publish(source)
        await daemon.sign()
        key = outside.chain.intent_attempt(task, 1, 0.0).key
        await outside.journal.set_state(key, IntentState.REVERTED, at=0.0)
    async with running(outside) as daemon:
        await settle()
        await daemon.reckoning.recover(task)
        assert (await daemon.task(task)).code == "attempt.reverted"


async def test_a_result_that_arrives_after_the_restart_is_taken(outside: Outside) -> None:
    source = outside.source(answers=False)
    async with running(outside) as daemon:
        await serving(daemon, source)
        task = await daemon.publish(source)
    async with running(outside) as daemon:
        await settle()
        assert await daemon.results.accept(source, task, b'{"result": 42}') is ResultOutcome.STORED
        await settle()
        assert await finish(daemon) == [Effect.ATTEMPT, Effect.SUBMIT_RESPONSE]
        assert await daemon.state(task) is S.SETTLED
        assert len(outside.runtime.dispatched) == 1


async def test_containers_lost_with_the_machine_are_started_and_called_again(outside: Outside) -> None:
    source = outside.source(answers=False)
    async with running(outside) as daemon:
        await serving(daemon, source)
        task = await daemon.publish(source)
    outside.runtime.running.clear()
    outside.runtime.scripts[source].answers = True
    async with running(outside) as daemon:
        await outside.clock.advance(5)
        await outside.clock.advance(320)
        assert await daemon.state(task) is S.SUBMITTED
        assert outside.runtime.started.count(source) == 2


async def test_a_submitted_task_is_settled_by_what_the_chain_says(outside: Outside) -> None:
    source = outside.source()
    async with running(outside) as daemon:
        await serving(daemon, source)
        task = await daemon.publish(source)
        signed = await daemon.sign()
    for effect, subject, tx in signed:  # mined while nobody listened
        act = outside.chain.attempt if effect is Effect.ATTEMPT else outside.chain.submit
        act(subject, tx=tx)
    async with running(outside) as daemon:
        await daemon.block()
        await daemon.reckoning.recover(task)
        await daemon.block()
        await daemon.block()
        assert await daemon.state(task) is S.SETTLED
        row = await daemon.task(task)
        assert row.response is not None


@pytest.mark.parametrize("fate", ["canceled", "lost"])
async def test_work_that_is_over_on_chain_is_dropped(outside: Outside, fate: str) -> None:
    source = outside.source(answers=False)
    async with running(outside) as daemon:
        await serving(daemon, source)
        task = await daemon.publish(source)
        assert await daemon.state(task) is S.EXECUTING
    act: dict[str, Callable[[], object]] = {
        "canceled": lambda: outside.chain.cancel(task),
        "lost": lambda: (outside.chain.attempt(task, OTHER), outside.chain.submit(task, OTHER)),
    }
    act[fate]()
    async with running(outside) as daemon:
        await settle()
        await daemon.reckoning.recover(task)
        assert await daemon.state(task) is (S.CANCELED if fate == "canceled" else S.LOST)
        assert daemon.leases == [f"source:{source}"]


async def test_a_lost_journal_is_made_up_for_by_the_chain(outside: Outside) -> None:
    """This key attempted a task; the journal knows nothing of it: it is owed all the same."""
    source = outside.source()
    fact = outside.chain.publish_task(source, config_url=CONFIG)
    outside.chain.attempt(fact.task, US)
    async with running(outside) as daemon:
        await daemon.block()
        await serving(daemon, source)
        daemon.keeper.changed(source)
        await settle()
        assert await finish(daemon) == [Effect.SUBMIT_RESPONSE]
        assert await daemon.state(fact.task) is S.SETTLED


async def test_leases_held_at_the_crash_are_held_after_the_restart(outside: Outside) -> None:
    source = outside.source(answers=False)
    async with running(outside, slots=1) as daemon:
        await serving(daemon, source)
        held = await daemon.publish(source)
        before = sorted(daemon.leases)
    async with running(outside, slots=1) as daemon:
        await settle()
        assert sorted(daemon.leases) == before
        waiting = await daemon.publish(source)
        assert await daemon.state(waiting) is S.SEEN
        assert await daemon.state(held) is S.EXECUTING


async def recovered(daemon: Daemon) -> None:
    """With the first block, as the daemon does it."""
    cursor = await daemon.outside.journal.cursor()
    known = cursor[0] if cursor else 0
    recovery = asyncio.ensure_future(resume(daemon.ports, daemon.reckoning, known))
    await daemon.block()
    await daemon.outside.clock.advance(PAUSE_S)
    await recovery


async def at_work_on_an_agents_word(daemon: Daemon, source: Address) -> Address:
    """It waited for the only slot, so it was the agent who attempted it for us."""
    await serving(daemon, source)
    holder, task = await daemon.publish(source), await daemon.publish(source)
    await daemon.block()
    await daemon.block(*daemon.outside.chain.attempt(task))
    await daemon.results.accept(source, holder, b"{}")
    await settle()
    await daemon.mine()
    await daemon.block()
    await daemon.confirm()
    assert [(await daemon.task(task)).obliged, await daemon.state(task)] == [True, S.EXECUTING]
    return task


@pytest.mark.parametrize("comes_back", [False, True])
async def test_an_agents_promise_that_was_undone_meanwhile_is_made_by_ourselves_unless_it_comes_back(
    outside: Outside, comes_back: bool
) -> None:
    source = outside.source(answers=False)
    async with running(outside, slots=1) as daemon:
        task = await at_work_on_an_agents_word(daemon, source)
    outside.chain._tasks[task].attempters.clear()
    outside.chain.height -= 2
    async with running(outside, slots=1) as daemon:
        await recovered(daemon)
        await daemon.block()
        assert await outside.journal.intents_of(task) == [], "the chain is not longer than it was, it may yet come back"
        if comes_back:
            outside.chain.attempt(task)  # its log is lost
        await daemon.block()
        planned = [row.intent.effect for row in await outside.journal.intents_of(task)]
        assert planned == ([] if comes_back else [Effect.ATTEMPT])
        await daemon.results.accept(source, task, b"{}")
        await settle()
        assert await finish(daemon) == [*planned, Effect.SUBMIT_RESPONSE]
        assert await daemon.state(task) is S.SETTLED


async def test_a_response_does_not_go_ahead_of_an_attempt_that_is_gone(outside: Outside) -> None:
    """Its result comes before anything was heard of the chain."""
    source = outside.source(answers=False)
    async with running(outside, slots=1) as daemon:
        task = await at_work_on_an_agents_word(daemon, source)
    outside.chain._tasks[task].attempters.clear()
    async with running(outside, slots=1) as daemon:
        await daemon.results.accept(source, task, b"{}")
        await settle()
        assert await finish(daemon) == [Effect.ATTEMPT, Effect.SUBMIT_RESPONSE]
        assert await daemon.state(task) is S.SETTLED


async def test_a_task_that_was_promised_for_us_and_not_begun_attempts_for_itself(outside: Outside) -> None:
    source = outside.source(answers=False)
    async with running(outside, slots=1) as daemon:
        await serving(daemon, source)
        holder, task = await daemon.publish(source), await daemon.publish(source)
        await daemon.block(*outside.chain.attempt(task))
        await daemon.mine()
    outside.chain._tasks[task].attempters.clear()
    async with running(outside, slots=1) as daemon:
        await recovered(daemon)
        await daemon.block()
        row = await daemon.task(task)
        assert (row.state, row.obliged) == (S.SEEN, False)
        await daemon.results.accept(source, holder, b"{}")
        await settle()
        assert [one.intent.effect for one in await outside.journal.intents_of(task)] == [Effect.ATTEMPT]
