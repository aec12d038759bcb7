"""Rows held against chain and engine: what each look says, and what comes of transactions that came to an end."""

import pytest

from ogpu_provider.domain.intent import Effect, IntentState
from ogpu_provider.domain.task import TaskState
from ogpu_provider.domain.units import Address
from ogpu_provider.pipeline.recovery import Row
from tests.fakes.clock import settle
from tests.unit.pipeline.stage import Daemon, Outside, running, serving

S = TaskState


@pytest.fixture
def outside() -> Outside:
    return Outside()


async def at_work(daemon: Daemon) -> Address:
    source = daemon.outside.source(answers=False)
    daemon.keeper.published(source)
    await serving(daemon, source)
    task = await daemon.publish(source)
    assert await daemon.state(task) is S.EXECUTING
    return task


async def test_a_look_asks_chain_engine_and_results(outside: Outside) -> None:
    async with running(outside) as daemon:
        task = await at_work(daemon)
        assert await daemon.reckoning.recover(task) is Row.SEND
        await daemon.mine()
        assert await daemon.reckoning.recover(task) is Row.LISTEN
        outside.runtime.adopted.clear()
        assert await daemon.reckoning.recover(task) is Row.RESTART
        await outside.journal.put_result(task, b"{}", at=outside.clock.now())
        assert await daemon.reckoning.recover(task) is Row.PUBLISH
        await settle()
        assert await daemon.state(task) is S.SUBMITTED, "it went on"


async def test_an_attempt_that_was_closed_for_anothers_makes_the_task_an_obligation(outside: Outside) -> None:
    async with running(outside) as daemon:
        task = await at_work(daemon)
        [attempt] = await outside.journal.intents_of(task)
        done = await outside.journal.set_state(attempt.intent.key, IntentState.CONFIRMED, at=0.0)
        await daemon.reckoning.on_intent(done)
        assert (await daemon.task(task)).obliged


async def test_one_of_ours_does_not(outside: Outside) -> None:
    async with running(outside) as daemon:
        task = await at_work(daemon)
        await daemon.mine()
        await daemon.confirm()
        [attempt] = await outside.journal.intents_of(task)
        assert (attempt.state, attempt.intent.effect) == (IntentState.CONFIRMED, Effect.ATTEMPT)
        assert not (await daemon.task(task)).obliged


async def test_a_task_that_is_gone_is_given_up_when_it_could_not_be_answered_anyway(outside: Outside) -> None:
    async with running(outside) as daemon:
        task = await at_work(daemon)
        expiry = (await daemon.task(task)).expiry
        await daemon.reckoning.give_up(task)
        assert await daemon.state(task) is S.EXECUTING
        await daemon.intake.deliver(outside.chain.block(expiry - 1), ())
        await daemon.reckoning.give_up(task)
        assert not (await daemon.state(task)).over
        await daemon.intake.deliver(outside.chain.block(expiry), ())
        await daemon.reckoning.give_up(task)
        row = await daemon.task(task)
        assert (row.state, row.code) == (S.EXPIRED, "chain.undone")
        await daemon.reckoning.give_up(task)
        assert (await daemon.task(task)).version == row.version
