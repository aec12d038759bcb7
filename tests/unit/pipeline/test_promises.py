"""Attempts that others made for us, in doubt and made good, one rule at a time."""

from dataclasses import replace

import pytest

from ogpu_provider.domain.errors import RpcUnavailable
from ogpu_provider.domain.intent import Effect, IntentRow, IntentState
from ogpu_provider.domain.task import Task, TaskState, Transition
from ogpu_provider.domain.units import Address
from ogpu_provider.pipeline.promises import oblige
from tests.fakes.clock import settle
from tests.unit.pipeline.stage import CONFIG, Daemon, Outside, WokenSender, running, serving

S = TaskState
SOURCE = Address("0x" + "50" * 20)


@pytest.fixture
def outside() -> Outside:
    return Outside()


async def on_an_agents_word(daemon: Daemon) -> Address:
    """A task at work that was found attempted for us; the chain does not have that attempt any more."""
    outside = daemon.outside
    source = outside.source(answers=False)
    daemon.keeper.published(source)
    await serving(daemon, source)
    task = outside.chain.publish_task(source, config_url=CONFIG).task
    outside.chain.attempt(task)
    await daemon.block()
    await daemon.intake.adopt(await outside.chain.standing(task))
    await settle()
    assert await daemon.state(task) is S.EXECUTING
    assert await attempts(daemon, task) == []
    outside.chain._tasks[task].attempters.clear()
    return task


async def attempts(daemon: Daemon, task: Address) -> list[IntentRow]:
    rows = await daemon.outside.journal.intents_of(task)
    return [row for row in rows if row.intent.effect is Effect.ATTEMPT]


async def test_it_is_made_once_the_chain_is_longer_and_then_left_to_the_sender(outside: Outside) -> None:
    async with running(outside) as daemon:
        task = await on_an_agents_word(daemon)
        sender = daemon.ports.sender
        assert isinstance(sender, WokenSender)
        daemon.intake.promises.doubt(task, outside.chain.height + 1)
        await daemon.block()
        assert await attempts(daemon, task) == []
        wakes = sender.wakes
        await daemon.block()
        [attempt] = await attempts(daemon, task)
        assert attempt.intent.key == outside.chain.intent_attempt(task, 1, 0.0).key
        assert sender.wakes > wakes
        asked = outside.chain.calls["standing"]
        await daemon.block()
        assert outside.chain.calls["standing"] == asked, "it is in doubt no more"


async def test_one_that_was_heard_of_again_is_in_doubt_no_more(outside: Outside) -> None:
    async with running(outside) as daemon:
        task = await on_an_agents_word(daemon)
        daemon.intake.promises.doubt(task, outside.chain.height)
        daemon.intake.promises.heard(task)
        await daemon.block()
        assert await attempts(daemon, task) == []


async def test_while_no_endpoint_answers_it_stays_in_doubt(outside: Outside) -> None:
    async with running(outside) as daemon:
        task = await on_an_agents_word(daemon)
        daemon.intake.promises.doubt(task, outside.chain.height)
        outside.chain.failures = [RpcUnavailable("no endpoint answers")]
        await daemon.block()
        assert await attempts(daemon, task) == []
        await daemon.block()
        assert len(await attempts(daemon, task)) == 1


async def test_one_that_is_planned_again_has_a_key_of_its_own(outside: Outside) -> None:
    async with running(outside) as daemon:
        task = await on_an_agents_word(daemon)
        keys = []
        for _ in range(2):
            daemon.intake.promises.doubt(task, outside.chain.height)
            await daemon.block()
            *_, last = await attempts(daemon, task)
            await outside.journal.set_state(last.intent.key, IntentState.CONFIRMED, at=0.0)  # by another path
            keys.append(last.intent.key)
        assert keys[1] == keys[0] + ":2"


async def test_what_is_over_or_unknown_is_not_asked_about(outside: Outside) -> None:
    async with running(outside) as daemon:
        task = await on_an_agents_word(daemon)
        await daemon.conductor.apply(task, lambda row: Transition(S.FAILED))
        await settle()
        asked = outside.chain.calls["standing"]
        for one in (task, SOURCE):
            daemon.intake.promises.doubt(one, outside.chain.height)
        await daemon.block()
        assert outside.chain.calls["standing"] == asked
        assert await attempts(daemon, task) == []


async def test_one_that_is_not_at_work_decides_for_itself_at_once(outside: Outside) -> None:
    source = outside.source(answers=False)
    async with running(outside, slots=1) as daemon:
        await serving(daemon, source)
        await daemon.publish(source)
        waiting = await daemon.publish(source)
        await daemon.block(*outside.chain.attempt(waiting))
        assert (await daemon.task(waiting)).obliged
        await daemon.intake.promises.undone(waiting, outside.chain.height)
        row = await daemon.task(waiting)
        assert (row.state, row.obliged) == (S.SEEN, False)


def test_what_another_attempted_is_owed_unless_our_part_is_done() -> None:
    task = Task(SOURCE, SOURCE, S.EXECUTING, 1, 1.0)
    assert oblige(task) == {"obliged": True}
    assert oblige(replace(task, obliged=True)) is None
    assert oblige(replace(task, state=S.SUBMITTED)) is None
    assert oblige(replace(task, state=S.EXPIRED)) is None
    read_anew = {"obliged": True, "function": "", "expiry": 0}
    assert oblige(replace(task, state=S.DECLINED)) == Transition(S.SEEN, read_anew)
