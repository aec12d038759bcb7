"""The account runs out of coin with tasks in hand: what was signed waits, nothing is offered dearer or twice, what is
too late by then is given up, and with coin all goes on.
"""

from structlog.testing import capture_logs

from ogpu_provider.domain.intent import IntentState
from ogpu_provider.domain.task import TaskState
from ogpu_provider.domain.units import Address
from tests.crash.inmemory import Living, Whole
from tests.fakes.clock import settle
from tests.unit.pipeline.stage import CONFIG


async def blocks(living: Living, seconds: int) -> None:
    """A block every five seconds."""
    for _ in range(seconds // 5):
        await living.deliver(*living.whole.mine())
        await living.whole.outside.clock.advance(5)


async def published(living: Living, source: Address, lasts: int) -> Address:
    fact = living.whole.outside.chain.publish_task(source, config_url=CONFIG, lasts=lasts)
    living.whole.tasks.append(fact.task)
    block, facts = living.whole.mine()
    await living.deliver(block, [*facts, fact])
    return fact.task


async def test_what_is_in_time_when_the_coin_comes_is_paid_and_what_is_late_is_given_up() -> None:
    whole = Whole()
    source = whole.outside.source()
    async with whole.alive() as living:
        await settle()
        await blocks(living, 10)
        first = await published(living, source, 900)
        await blocks(living, 40)
        whole.node.refuse_sends, whole.node.balance = True, 0
        with capture_logs() as logs:
            late, early = await published(living, source, 120), await published(living, source, 2000)
            await blocks(living, 300)
        assert "tx.no_coin" in {line["event"] for line in logs}
        assert whole.attempts.keys() == {first}
        assert whole.node.pool == {}
        whole.node.refuse_sends, whole.node.balance = False, 10**24
        await blocks(living, 400)
        last = await published(living, source, 900)
        await blocks(living, 60)
        assert not living.dead
    states = {task: (await whole.outside.journal.task(task)) for task in whole.tasks}
    paid = [task for task, row in states.items() if row is not None and row.state is TaskState.SETTLED]
    assert paid == [first, early, last]
    given_up = states[late]
    assert given_up is not None
    assert given_up.state.over
    assert given_up.code
    assert set(whole.attempts.values()) == set(whole.responses.values()) == {1}
    assert whole.attempts.keys() == set(paid)
    assert not await whole.outside.journal.open_intents()
    for task in paid:
        for intent in await whole.outside.journal.intents_of(task):
            assert intent.state is IntentState.CONFIRMED
