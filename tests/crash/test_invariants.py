"""Any history of blocks, time, lost calls, forgotten and undone transactions, faults and restarts keeps the promises.

A state machine over the true sender, conductor and keeper of sources. `promises` has the invariants and the table of
them; all are checked after every step. When the world calms down, every task ends.
"""

import asyncio
import json
import logging
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ogpu_provider.domain.errors import ProviderError, Retry
from ogpu_provider.domain.facts import Block, Fact
from ogpu_provider.domain.killpoints import arm
from ogpu_provider.domain.resources import Device, Host
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.task import TaskState
from ogpu_provider.domain.units import COIN, Address, Wei
from ogpu_provider.scheduler.rules import AdmissionPolicy
from tests.crash.inmemory import CENSUS_S, Living, Whole
from tests.crash.promises import MovesKept, broken, look, served_again
from tests.crash.test_matrix import IN_MEMORY
from tests.fakes.clock import settle
from tests.fakes.mempool import GWEI
from tests.fakes.runtime import REFUSED, Script
from tests.sizes import size
from tests.unit.pipeline.stage import COMPOSE, CONFIG, Outside

LASTS = 600
GRACE = 120
"""Seconds in which a project that ended by itself is found and started again."""
FOUND_S = GRACE + 6 * CENSUS_S
"""Seconds in which a task whose log was lost is found in contract state."""
SLOTS = 3
FLOOR = COIN // 10
PAYMENTS = st.sampled_from([COIN, COIN, COIN, FLOOR, FLOOR - 1])
BUDGET = 2_500_000 * 120 * GWEI
"""In wei: a little more than one response may cost at the cap of fees."""
GPU = "https://example.org/gpu.json"
REFUSED_METADATA = "https://example.org/bad.json"
REFUSED_COMPOSE = "https://example.org/bad.yml"


@pytest.fixture(autouse=True)
def no_log() -> None:
    """Thousands of histories print too much."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


class Provider(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.whole = Whole(
            outside=Outside(journal=MovesKept()),
            host=Host(SLOTS, (Device("GPU-1", Environment.NVIDIA, "card", 24 << 30),)),
            admission=AdmissionPolicy(min_payment=FLOOR),
            budget=BUDGET,
        )
        self.history: list[tuple[Block, list[Fact]]] = []
        self.delivered = 0
        self.living: Living | None = None
        self.stack = AsyncExitStack()
        self.faults: list[str] = []
        self.sources: list[Address] = []
        self.unheard: dict[Address, float] = {}
        """Until when they may be done."""

    def do(self, work: Coroutine[Any, Any, None]) -> None:
        self.loop.run_until_complete(work)

    @initialize()
    def begin(self) -> None:
        """A source of each kind: two for which there is one card, one whose file does not pass the gate."""
        outside = self.whole.outside
        outside.content.documents[GPU] = json.dumps({"nvidia": COMPOSE, "name": "card"}).encode()
        outside.content.documents[REFUSED_COMPOSE] = REFUSED
        outside.content.documents[REFUSED_METADATA] = json.dumps({"cpu": REFUSED_COMPOSE, "name": "bad"}).encode()
        self.sources = [outside.source()]
        kinds = [(GPU, Environment.NVIDIA), (GPU, Environment.NVIDIA), (REFUSED_METADATA, Environment.CPU)]
        for metadata, environment in kinds:
            made = outside.chain.publish_source(environments=frozenset({environment}), metadata_url=metadata)
            functions = outside.runtime.scripts[self.sources[0]].functions
            outside.runtime.scripts[made.source] = Script(functions, devices=int(environment is Environment.NVIDIA))
            outside.chain.register(made.source, environment=environment)
            self.sources.append(made.source)
        self.whole.node.fault = lambda method: self.faults.pop(0) if self.faults else ""
        self.do(self._start())

    @rule(source=st.sampled_from([0, 0, 0, 1, 2, 3]), lasts=st.sampled_from([LASTS, LASTS, 9, 60]), pays=PAYMENTS)
    def publish(self, source: int, lasts: int, pays: Wei) -> None:
        chain = self.whole.outside.chain
        fact = chain.publish_task(self.sources[source], config_url=CONFIG, lasts=lasts, payment=pays)
        self.whole.tasks.append(fact.task)
        block, facts = self.whole.mine()
        self.history.append((block, [*facts, fact]))
        self.do(self._deliver())

    @rule(lasts=st.sampled_from([LASTS, 60]))
    def publish_unheard(self, lasts: int) -> None:
        """The logs of a block are lost: that of a task, and those of our transactions in it."""
        fact = self.whole.outside.chain.publish_task(self.sources[0], config_url=CONFIG, lasts=lasts)
        self.whole.tasks.append(fact.task)
        self.unheard[fact.task] = self.whole.outside.clock.now() + lasts
        block, _ = self.whole.mine()
        self.history.append((block, []))
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

    @rule(blocks=st.integers(1, 3))
    def tell_again(self, blocks: int) -> None:
        """What was read is read again, as after a crash or an overlap."""
        self.delivered = max(self.delivered - blocks, 0)
        self.do(self._deliver())

    @precondition(lambda self: self.whole.outside.runtime.running)
    @rule(which=st.integers(0, 2))
    def lose_containers(self, which: int) -> None:
        """A project ends by itself, and the engine tells of it."""
        runtime = self.whole.outside.runtime
        source = sorted(runtime.running)[which % len(runtime.running)]
        del runtime.running[source]
        runtime.adopted.discard(source)
        if self.living:
            self.living.daemon.keeper.changed(source)

    @rule(answers=st.booleans())
    def handler(self, answers: bool) -> None:
        """A handler that fails sends nothing."""
        self.whole.outside.runtime.scripts[self.sources[0]].answers = answers

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
            await self.living.daemon.reckoning.recover(task.address)
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
            except (ProviderError, asyncio.CancelledError):  # the latter: it was dying
                pass
            await self._stop()
            await self._start()

    async def _check(self) -> None:
        seen = await look(self.whole, self.history[: self.delivered])
        assert broken(seen) == {}

    async def _calm(self) -> None:
        """Nothing fails any more: every task ends, and nothing stays in flight."""
        whole, journal = self.whole, self.whole.outside.journal
        self.faults, whole.node.base_fee = [], GWEI
        calm_at = whole.outside.clock.now()
        whole.outside.runtime.scripts[self.sources[0]].answers = True
        for _ in range(150):
            assert self.living is not None
            if self.living.dead:
                await self._stop()
                await self._start()
            self.history.append(whole.mine())
            await self._deliver()
            await whole.outside.clock.advance(10)
            counted = not self.unheard or whole.outside.clock.now() > calm_at + FOUND_S
            if counted and not await journal.live() and not await journal.open_intents():
                break
        await whole.outside.clock.advance(GRACE)
        seen = await look(whole, self.history)
        assert broken(seen) == {}
        assert list(served_again(seen)) == []
        assert await journal.open_intents() == []
        for task, until in self.unheard.items():
            assert until < calm_at + FOUND_S or await journal.task(task), "I12: a lost log costs time, not a task"
        for task in whole.tasks:
            row = await journal.task(task)
            assert row is None or row.state.over, (row.state, row.code)
            if whole.responses[task] and row is not None:
                assert row.state is TaskState.SETTLED, (row.state, row.code)


_killed = pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
"""What a killed daemon had begun is never awaited: that is what a kill is."""
TestProvider = pytest.mark.timeout(1800)(_killed(Provider.TestCase))
"""Histories are counted, not seconds: a machine with other things to do takes longer."""
TestProvider.settings = settings(
    max_examples=size("histories"), stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
