"""A sender over a pool, a journal and a clock in memory, and what tests do with them."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from ogpu_provider.chain.fees import DayBudget, FeeCaps
from ogpu_provider.chain.sender import Sender
from ogpu_provider.domain.facts import Block, Fact
from ogpu_provider.domain.intent import Effect, Intent, IntentRow, IntentState
from ogpu_provider.domain.units import Address
from ogpu_provider.store.memory import MemoryStore
from tests.fakes.clock import FakeClock, settle
from tests.fakes.mempool import GWEI, FakeMempool, FakeSigner

NEXUS = Address("0x" + "22" * 20)


def intent(n: int, effect: Effect = Effect.ATTEMPT, deadline: float | None = None) -> Intent:
    subject = Address(f"0x{n:040x}")
    return Intent(f"1:{effect}:{subject}", effect, subject, NEXUS, b"data", deadline)


@dataclass
class HeadStub:
    block: Block | None = None


@dataclass
class World:
    node: FakeMempool = field(default_factory=FakeMempool)
    store: MemoryStore = field(default_factory=MemoryStore)
    signer: FakeSigner = field(default_factory=FakeSigner)
    clock: FakeClock = field(default_factory=FakeClock)
    head: HeadStub = field(default_factory=HeadStub)
    outcomes: list[IntentRow] = field(default_factory=list)
    confirmations: int = 3
    budget: int | None = None
    present: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    async def is_present(self, one: Intent) -> bool:
        self.asked.append(one.key)
        return one.key in self.present

    async def taken(self, row: IntentRow) -> None:
        self.outcomes.append(row)

    def make(self) -> Sender:
        caps = FeeCaps(absolute=100 * GWEI)
        self.sender = Sender(
            self.node,
            self.store,
            self.signer,
            self.clock,
            self.head,
            self.taken,
            confirmations=self.confirmations,
            caps=caps,
            budget=DayBudget(self.budget),
            present=self.is_present,
        )
        return self.sender

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Sender]:
        self.head.block = self.node.head
        sender = self.make()
        task = asyncio.create_task(sender.run())
        await settle()
        try:
            yield sender
        finally:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    async def plan(self, *intents: Intent) -> None:
        for one in intents:
            await self.store.plan(one, at=self.clock.now())
        self.sender.wake()
        await settle()

    async def hear(self, block: Block, facts: Iterable[Fact]) -> None:
        self.head.block = block
        await self.sender.observe(block, facts)
        await settle()

    async def mine(self, blocks: int = 1, revert: Iterable[str] = ()) -> None:
        for _ in range(blocks):
            await self.hear(*self.node.mine(revert=set(revert)))

    async def state(self, one: Intent) -> IntentState:
        row = await self.store.intent(one.key)
        assert row is not None
        return row.state
