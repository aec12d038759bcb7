"""Any history of blocks, time, lost calls, forgotten and undone transactions, faults and restarts keeps the promises.

A state machine over the true sender and conductor. Checked after every step, by what others see: one attempt and one
response a task at most, one intent a nonce, gas within its caps, rows along drawn edges only, no effect without an
older intent, no response without the stored bytes that its link names. When the world calms down, every task ends.
"""

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ogpu_provider.domain.errors import ProviderError, Retry
from ogpu_provider.domain.facts import Block, Fact
from ogpu_provider.domain.intent import Effect, IntentState
from ogpu_provider.domain.killpoints import arm
from ogpu_provider.domain.task import EDGES, TaskState
from ogpu_provider.domain.units import Address
from tests.crash.inmemory import Living, Whole
from tests.crash.test_matrix import IN_MEMORY
from tests.fakes.clock import settle
from tests.fakes.mempool import GWEI
from tests.sizes import size
from tests.unit.pipeline.stage import CONFIG

CAP = 100 * GWEI
LASTS = 600


class Provider(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.whole = Whole()
        self.history: list[tuple[Block, list[Fact]]] = []
        self.delivered = 0
        self.living: Living | None = None
        self.stack = AsyncExitStack()
        self.faults: list[str] = []
        self.source = Address("")

    def do(self, work: Coroutine[Any, Any, None]) -> None:
        self.loop.run_until_complete(work)

    @initialize()
    def begin(self) -> None:
        self.source = self.whole.outside.source()
        self.whole.node.fault = lambda method: self.faults.pop(0) if self.faults else ""
        self.do(self._start())

    @rule()
    def publish(self) -> None:
        fact = self.whole.outside.chain.publish_task(self.source, config_url=CONFIG, lasts=LASTS)
        self.whole.tasks.append(fact.task)
        block, facts = self.whole.mine()
        self.history.append((block, [*facts, fact]))
        self.do(self._deliver())

    @rule(blocks=st.integers(1, 4))
    def mine(self, blocks: int) -> None:
        for _ in range(blocks):
            self.history.append(self.whole.mine())
            self.do(self._deliver())

    @rule(seconds=st.sampled_from([1, 5, 20, 61]))
    def wait(self, seconds: int) -> None:
        self.do(self.whole.outside.clock.advance(seconds))

    @rule(faults=st.lists(st.sampled_from(["lost", "down", ""]), min_size=1, max_size=6))
    def break_calls(self, faults: list[str]) -> None:
        self.faults = faults

    @rule(point=st.sampled_from(IN_MEMORY))
    def fail_at(self, point: str) -> None:
        def act() -> None:
            raise ProviderError("injected", code="fault", retry=Retry.LATER)

        arm(point, act)

    @precondition(lambda self: self.whole.node.pool)
    @rule()
    def forget(self) -> None:
        """The nodes drop the last transaction of the pool."""
        del self.whole.node.pool[max(self.whole.node.pool)]

    @rule(gwei=st.sampled_from([1, 1, 3, 20, 101]))
    def price(self, gwei: int) -> None:
        self.whole.node.base_fee = gwei * GWEI

    @rule()
    def kill(self) -> None:
        self.do(self._stop())
        self.do(self._start())

    @rule(answers=st.booleans())
    def handler(self, answers: bool) -> None:
        """A handler that fails sends nothing."""
        self.whole.outside.runtime.scripts[self.source].answers = answers

    @invariant()
    def promises_hold(self) -> None:
        self.do(self._check())

    def teardown(self) -> None:
        arm("")
        try:
            if self.living is not None:
                self.do(self._calm())
        finally:
            self.do(self._stop())
            self.loop.close()

    # inside

    async def _start(self) -> None:
        self.living = await self.stack.enter_async_context(self.whole.alive())
        await settle()
        for task in await self.whole.outside.journal.live():
            await self.living.daemon.conductor.recover(task.address)
        await self._deliver()

    async def _stop(self) -> None:
        self.living = None
        await self.stack.aclose()

    async def _deliver(self) -> None:
        assert self.living is not None
        while self.delivered < len(self.history):
            try:
                if not self.living.dead:
                    await self.living.deliver(*self.history[self.delivered])
                    self.delivered += 1
                    continue
            except ProviderError:
                pass
            await self._stop()
            await self._start()

    async def _check(self) -> None:
        whole, journal = self.whole, self.whole.outside.journal
        assert all(count == 1 for count in (whole.attempts | whole.responses).values())
        carried: dict[int, str] = {}
        for tx in [*(tx for block in whole.node.mined for tx in block), *whole.node.pool.values()]:
            assert carried.setdefault(tx.nonce, tx.intent_key) == tx.intent_key
            assert tx.max_fee <= CAP
            intent = await journal.intent(tx.intent_key)
            assert intent is not None
            assert intent.state is not IntentState.PLANNED
        for task in whole.responses:
            rows = [row for row in await journal.intents_of(task) if row.intent.effect is Effect.SUBMIT_RESPONSE]
            row, body = await journal.task(task), await journal.result(task)
            assert row is not None
            assert body is not None
            assert row.cid == whole.outside.content.cid(body)
            assert row.cid.encode() in rows[0].intent.data
        for task in whole.tasks:
            lines = await journal.history(task)
            assert all(line.before is None or line.after in EDGES[line.before] for line in lines)

    async def _calm(self) -> None:
        """Nothing fails any more: every task ends, and nothing stays in flight."""
        whole, journal = self.whole, self.whole.outside.journal
        self.faults, whole.node.base_fee = [], GWEI
        whole.outside.runtime.scripts[self.source].answers = True
        for _ in range(150):
            assert self.living is not None
            if self.living.dead:
                await self._stop()
                await self._start()
            self.history.append(whole.mine())
            await self._deliver()
            await whole.outside.clock.advance(10)
            if not await journal.live() and not await journal.open_intents():
                break
        await self._check()
        assert await journal.open_intents() == []
        for task in whole.tasks:
            row = await journal.task(task)
            assert row is None or row.state.over, (row.state, row.code)
            if whole.responses[task] and row is not None:
                assert row.state is TaskState.SETTLED, (row.state, row.code)


TestProvider = Provider.TestCase
TestProvider.settings = settings(
    max_examples=size("histories"), stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
