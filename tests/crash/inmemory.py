"""The path with its true sender, on a chain, a pool and containers in memory; it may die and start again at will.

What others see is kept apart from the journal: `attempts` and `responses` count effects in canonical blocks.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from ogpu_provider.chain.fees import DayBudget, FeeCaps
from ogpu_provider.chain.sender import Sender
from ogpu_provider.domain.errors import ProviderError, RpcRejected
from ogpu_provider.domain.facts import Block, Fact, Origin
from ogpu_provider.domain.resources import Host
from ogpu_provider.domain.task import ResultOutcome, Task, TaskState
from ogpu_provider.domain.units import Address, Wei
from ogpu_provider.pipeline.census import Census
from ogpu_provider.pipeline.presence import present
from ogpu_provider.scheduler.rules import AdmissionPolicy
from tests.fakes.chain import US
from tests.fakes.clock import settle
from tests.fakes.mempool import GWEI, FakeMempool, FakeSigner, PoolTx
from tests.unit.pipeline.stage import CONFIG, Daemon, Outside, WokenSender, running

CENSUS_S = 30.0
"""Seconds between two readings of open tasks from contract state; a quiet daemon makes one of five."""


class OurSigner(FakeSigner):
    @property
    def address(self) -> Address:
        return US


@dataclass
class Whole:
    """Everything that outlives a daemon, and at most one daemon."""

    outside: Outside = field(default_factory=Outside)
    node: FakeMempool = field(default_factory=FakeMempool)
    attempts: Counter[Address] = field(default_factory=Counter)
    responses: Counter[Address] = field(default_factory=Counter)
    tasks: list[Address] = field(default_factory=list)
    deaths: int = 0
    signer: FakeSigner = field(default_factory=OurSigner)
    slots: int = 8
    host: Host | None = None
    admission: AdmissionPolicy | None = None
    budget: Wei | None = None

    @asynccontextmanager
    async def alive(self) -> AsyncIterator["Living"]:
        async with running(self.outside, slots=self.slots, host=self.host, admission=self.admission) as daemon:
            accept = self.outside.runtime.deliver
            assert accept is not None

            async def post(source: Address, task: Address, body: bytes) -> object:
                """A container posts once, in its own time, and does not care for the answer."""
                try:
                    return await daemon.results.accept(source, task, body)
                except ProviderError:
                    return ResultOutcome.UNKNOWN

            self.outside.runtime.deliver = post
            sender = Sender(
                self.node,
                self.outside.journal,
                self.signer,
                self.outside.clock,
                daemon.ports.head,
                daemon.reckoning.on_intent,
                confirmations=1,
                caps=FeeCaps(absolute=100 * GWEI),
                budget=DayBudget(self.budget),
                present=lambda intent: present(self.outside.chain, intent),
            )
            daemon.ports.head.block = self.node.head
            assert isinstance(daemon.ports.sender, WokenSender)
            daemon.ports.sender.true = sender
            living = Living(self, daemon, sender, asyncio.ensure_future(sender.run()))
            census = Census(daemon.ports, daemon.reckoning, daemon.intake, pause=CENSUS_S)
            daemon.services.append(asyncio.ensure_future(census.run()))
            try:
                yield living
            finally:
                for service in (living.sending, daemon.services[-1]):
                    service.cancel()
                await asyncio.gather(living.sending, daemon.services[-1], return_exceptions=True)

    def mine(self) -> tuple[Block, list[Fact]]:
        """One block: the pool's transactions act on the contracts, and leave their logs."""
        self.outside.chain.height += 1
        block, _ = self.node.mine()
        facts: list[Fact] = []
        for tx in self.node.mined[-1]:
            facts += self._act(tx, block, len(facts))
        return block, facts

    def _act(self, tx: PoolTx, block: Block, index: int) -> list[Fact]:
        if tx.void:
            return []
        attempt = ":attempt:" in tx.intent_key
        try:
            act = self.outside.chain.attempt if attempt else self.outside.chain.submit
            made = act(tx.subject, tx=tx.hash)
        except RpcRejected:
            self.node.receipts[tx.hash]["status"] = "0x0"
            return []
        (self.attempts if attempt else self.responses)[tx.subject] += 1
        return [_at(fact, Origin(block.number, block.hash, tx.hash, index + n)) for n, fact in enumerate(made)]


def _at(fact: Fact, origin: Origin) -> Fact:
    object.__setattr__(fact, "origin", origin)
    return fact


@dataclass
class Living:
    whole: Whole
    daemon: Daemon
    sender: Sender
    sending: asyncio.Future[None]

    @property
    def dead(self) -> bool:
        """A service has ended, as it would end the daemon."""
        return self.sending.done() or any(service.done() for service in self.daemon.services)

    async def deliver(self, block: Block, facts: list[Fact]) -> None:
        """As the daemon does it. An error ends the daemon; the block is read again by the next one."""
        self.daemon.ports.head.block = block
        await self.daemon.intake.deliver(block, facts)
        await settle()

    async def rows(self) -> list[Task]:
        found = [await self.whole.outside.journal.task(task) for task in self.whole.tasks]
        return [row for row in found if row is not None]


async def drive(whole: Whole, publish: int, *, rounds: int = 400) -> None:
    """Blocks and time, a new daemon whenever one died, until `publish` tasks are through. AssertionError if never."""
    source = whole.outside.source()
    history: list[tuple[Block, list[Fact]]] = []
    delivered = 0
    for _ in range(rounds):
        async with whole.alive() as living:
            await settle()
            for task in await whole.outside.journal.live():
                await living.daemon.reckoning.recover(task.address)
            while not living.dead and rounds > 0:
                rounds -= 1
                row = living.daemon.ports.book.get(source)
                if len(whole.tasks) < publish and row is not None and row.state == "ready":
                    fact = whole.outside.chain.publish_task(source, config_url=CONFIG, lasts=900)
                    whole.tasks.append(fact.task)
                    block, facts = whole.mine()
                    history.append((block, [*facts, fact]))
                else:
                    history.append(whole.mine())
                try:
                    while delivered < len(history):
                        await living.deliver(*history[delivered])
                        delivered += 1
                except ProviderError:
                    break
                await whole.outside.clock.advance(1)
                rows = await living.rows()
                if len(rows) == publish and all(row.state.over for row in rows):
                    return
        whole.deaths += 1
    states = {task: await whole.outside.journal.task(task) for task in whole.tasks}
    raise AssertionError(f"not through after {whole.deaths} deaths: {states}")


async def audit(whole: Whole) -> None:
    """One attempt and one response a task, each paid; each nonce carries one intent; nothing is still open."""
    for task in whole.tasks:
        row = await whole.outside.journal.task(task)
        assert row is not None
        assert row.state is TaskState.SETTLED, (row.state, row.code, row.reason)
        assert (whole.attempts[task], whole.responses[task]) == (1, 1)
    carried: dict[int, str] = {}
    for tx in (tx for block in whole.node.mined for tx in block):
        assert carried.setdefault(tx.nonce, tx.intent_key) == tx.intent_key
