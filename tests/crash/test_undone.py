"""Blocks that we relied on are undone: the true sender and the path together, on a chain of the test's own.

Either another (an agent of our master's) had attempted for us, so that ours was never made, or was given up, and that
attempt is undone; or more blocks are undone than are asked for to confirm a transaction of ours. What must hold: one
attempt and one response for us in the end, and we are paid.
"""

import asyncio
import copy
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest

from ogpu_provider.domain.facts import Block, Fact
from ogpu_provider.domain.intent import Effect, IntentRow, IntentState
from ogpu_provider.domain.task import TaskState
from ogpu_provider.domain.units import Address
from ogpu_provider.pipeline.reliance import by_another
from ogpu_provider.pipeline.resumption import PAUSE_S, resume
from tests.crash.inmemory import Living, Whole
from tests.fakes.chain import US
from tests.fakes.clock import settle
from tests.fakes.mempool import GWEI
from tests.unit.pipeline.stage import CONFIG, serving

S = TaskState
NOBODY = Address("0x" + "00" * 20)


@dataclass
class World:
    """A whole whose blocks can be undone, with what their transactions and the agent's did."""

    whole: Whole = field(default_factory=Whole)
    before: list[tuple[object, Counter[Address], Counter[Address]]] = field(default_factory=list)
    task: Address = NOBODY
    published_at: int = 0
    living: Living | None = None

    @property
    def depth(self) -> int:
        """Of the block after the one that the task was published in."""
        return len(self.whole.node.blocks) - self.published_at

    async def publish(self, *, told: bool = True) -> None:
        chain = self.whole.outside.chain
        [source] = chain._sources

        def act() -> list[Fact]:
            fact = chain.publish_task(source, config_url=CONFIG)
            self.task = fact.task
            return [fact]

        await self.block(act, told=told)
        self.published_at = len(self.whole.node.blocks)

    async def answer(self, source: Address) -> None:
        assert self.living is not None
        await self.living.daemon.results.accept(source, self.task, b"{}")
        await settle()

    async def block(self, act: Callable[[], list[Fact]] = list, *, told: bool = True) -> None:
        """The next one, with what others do in it; `told`: their logs reach the daemon."""
        whole = self.whole
        self.before.append((copy.deepcopy(whole.outside.chain._tasks), whole.attempts.copy(), whole.responses.copy()))
        block, facts = whole.mine()
        others = [_in(block, fact) for fact in act()]
        if self.living is not None:
            await self.living.deliver(block, [*facts, *(others if told else ())])
        await whole.outside.clock.advance(1)

    async def undo(self, depth: int) -> None:
        whole, ancestor = self.whole, self.whole.node.blocks[-1 - depth]
        whole.node.undo(depth)
        whole.outside.chain.height -= depth
        tasks, whole.attempts, whole.responses = self.before[-depth]
        whole.outside.chain._tasks = tasks  # type: ignore[assignment]
        del self.before[-depth:]
        if self.living is not None:
            await self.living.daemon.intake.undo(ancestor)
            await settle()

    def agent(self) -> list[Fact]:
        return self.whole.outside.chain.attempt(self.task)

    async def state(self) -> TaskState:
        row = await self.whole.outside.journal.task(self.task)
        assert row is not None
        return row.state

    async def rows(self, effect: Effect) -> list[IntentRow]:
        return [row for row in await self.whole.outside.journal.intents_of(self.task) if row.intent.effect is effect]

    @asynccontextmanager
    async def alive(self) -> AsyncIterator[Living]:
        async with self.whole.alive() as self.living:
            try:
                yield self.living
            finally:
                self.living = None

    async def resumed(self) -> None:
        """As a daemon's start does it, for one that had read up to the head of then."""
        assert self.living is not None
        daemon = self.living.daemon
        known = len(self.whole.node.blocks) + 1
        recovery = asyncio.ensure_future(resume(daemon.ports, daemon.reckoning, known))
        await self.whole.outside.clock.advance(PAUSE_S)
        await recovery

    async def paid(self) -> None:
        """Blocks until the task is through; then each effect is there once."""
        for _ in range(30):
            if (await self.state()).over:
                break
            await self.block()
        row = await self.whole.outside.journal.task(self.task)
        assert row is not None
        assert row.state is S.SETTLED, (row.state, row.code, row.reason)
        one = self.whole.outside.chain._tasks[self.task]
        assert one.attempters == [US]
        assert list(one.responses) == [US]
        assert self.whole.responses[self.task] == 1
        carried: dict[int, str] = {}
        for tx in (tx for block in self.whole.node.mined for tx in block):
            assert carried.setdefault(tx.nonce, tx.intent_key) == tx.intent_key


async def unplanned(world: World) -> None:
    """The agent was quicker than our reading: the task is found attempted."""
    await world.publish(told=False)
    await world.block(world.agent, told=False)
    assert world.living is not None
    await world.living.daemon.intake.adopt(await world.whole.outside.chain.standing(world.task))
    await settle()
    assert await world.rows(Effect.ATTEMPT) == []


async def unsigned(world: World) -> None:
    """Our attempt was too dear to be signed, and the agent's was seen meanwhile."""
    world.whole.node.base_fee = 400 * GWEI
    await world.block()
    await world.publish()
    await world.block(world.agent)
    world.whole.node.base_fee = GWEI
    await world.block()
    [attempt] = await world.rows(Effect.ATTEMPT)
    assert by_another(attempt)


async def unheard(world: World) -> None:
    """The same, but for the log of the agent's attempt: the sender found it by asking."""
    world.whole.node.base_fee = 400 * GWEI
    await world.block()
    await world.publish()
    await world.block(world.agent, told=False)
    for _ in range(4):
        await world.whole.outside.clock.advance(5)
    world.whole.node.base_fee = GWEI
    await world.block()
    [attempt] = await world.rows(Effect.ATTEMPT)
    assert by_another(attempt)


async def voided(world: World) -> None:
    """Our attempt was sent, pools lost it, and the agent's is there: its nonce is used up by nothing."""
    world.whole.node.refuse_sends = True
    await world.publish()
    await world.block(world.agent)
    for _ in range(20):
        await world.whole.outside.clock.advance(1)
        [attempt] = await world.rows(Effect.ATTEMPT)
        if (await world.whole.outside.journal.signed(attempt.intent.key))[-1].void:
            break
    world.whole.node.refuse_sends = False
    for _ in range(4):
        await world.whole.outside.clock.advance(31)
        await world.block()
    [attempt] = await world.rows(Effect.ATTEMPT)
    assert attempt.state is IntentState.ABANDONED


RELYING: list[Callable[[World], Awaitable[None]]] = [unplanned, unsigned, unheard, voided]


@pytest.mark.parametrize("comes_back", [False, True])
@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("answered", [False, True])
@pytest.mark.parametrize("rely", RELYING, ids=lambda rely: rely.__name__)
async def test_an_attempt_of_another_that_is_undone_is_made_by_ourselves_and_the_response_with_it(
    rely: Callable[[World], Awaitable[None]], answered: bool, down: bool, comes_back: bool
) -> None:
    world = World()
    source = world.whole.outside.source(answers=False)
    async with world.alive() as living:
        await serving(living.daemon, source)
        await world.block()
        await rely(world)
        assert await world.state() is S.EXECUTING
        if answered:
            await world.answer(source)
            await world.block()
            assert world.whole.responses[world.task] == 1
            assert await world.state() is S.SUBMITTED
        if not down:
            await world.undo(world.depth)
            await _goes_on(world, source, answered, comes_back)
            return
    await world.undo(world.depth)
    async with world.alive():
        await world.resumed()
        await _goes_on(world, source, answered, comes_back)


async def _goes_on(world: World, source: Address, answered: bool, comes_back: bool) -> None:
    await world.block()
    if comes_back:
        await world.block(world.agent)
    if not answered:
        await world.answer(source)
    await world.paid()


def _in(block: Block, fact: Fact) -> Fact:
    """An origin of its own: the chain in memory names the block before."""
    return replace(fact, origin=replace(fact.origin, block_number=block.number, block_hash=block.hash))


DEEP = 6
"""Blocks that are undone; a transaction is done with after one on top of its own."""
SOON = 3
"""Blocks, of a second each, in which what was undone is on the chain again."""


@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("answered", [False, True])
async def test_what_was_undone_deeper_than_it_was_confirmed_is_back_within_three_blocks(
    answered: bool, down: bool
) -> None:
    """An attempt while its task is at work, or a response that was paid and settled, with its attempt."""
    world = World()
    source = world.whole.outside.source(answers=False)
    async with world.alive() as living:
        await serving(living.daemon, source)
        await world.block()
        await world.publish()
        await world.block()
        if answered:
            await world.answer(source)
        for _ in range(world.depth, DEEP):
            await world.block()
        effects = (Effect.ATTEMPT, Effect.SUBMIT_RESPONSE) if answered else (Effect.ATTEMPT,)
        for effect in effects:
            assert [row.state for row in await world.rows(effect)] == [IntentState.CONFIRMED]
        assert await world.state() is (S.SETTLED if answered else S.EXECUTING)
        if not down:
            await world.undo(DEEP)
            await _is_back(world, effects)
    if down:
        await world.undo(DEEP)
        async with world.alive():
            await world.resumed()
            await _is_back(world, effects)
            if not answered:
                await world.answer(source)
            await world.paid()


async def _is_back(world: World, effects: Sequence[Effect]) -> None:
    one = world.whole.outside.chain._tasks[world.task]
    assert one.attempters == []
    for _ in range(SOON):
        await world.block()
    one = world.whole.outside.chain._tasks[world.task]
    assert one.attempters == [US]
    assert len(one.responses) == len(effects) - 1
    for effect in effects:
        [row] = await world.rows(effect)
        assert len(await world.whole.outside.journal.signed(row.intent.key)) == 1, "the same bytes"
