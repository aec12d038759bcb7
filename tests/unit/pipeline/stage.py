"""The path with everything around it in memory: time, chain, containers and the pinning service do what a test says."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field

from ogpu_provider.domain.admission import Candidate
from ogpu_provider.domain.facts import Block, Fact
from ogpu_provider.domain.intent import Effect, Intent, IntentState, SignedTx
from ogpu_provider.domain.learnt import Knowledge
from ogpu_provider.domain.resources import Host
from ogpu_provider.domain.source import DeliveryMethod, SourceState
from ogpu_provider.domain.task import Task, TaskState
from ogpu_provider.domain.units import COIN, Address, Hash
from ogpu_provider.pipeline.conductor import Conductor
from ogpu_provider.pipeline.intake import Intake
from ogpu_provider.pipeline.path import TaskPath
from ogpu_provider.pipeline.ports import Policy, Ports, Sender
from ogpu_provider.pipeline.reckoning import Reckoning
from ogpu_provider.pipeline.results import ResultSink
from ogpu_provider.pipeline.sources import SourceKeeper
from ogpu_provider.pipeline.wishes import SourcePolicy
from ogpu_provider.scheduler.assessment import Assessment, AssessmentPolicy
from ogpu_provider.scheduler.circumstances import Circumstances
from ogpu_provider.scheduler.line import LinePolicy
from ogpu_provider.scheduler.rules import AdmissionPolicy
from ogpu_provider.scheduler.scheduler import HostScheduler
from ogpu_provider.scheduler.sharing import Sharing
from ogpu_provider.store.memory import MemoryStore
from tests.fakes.chain import FakeChain
from tests.fakes.clock import FakeClock, settle
from tests.fakes.content import FakeContent
from tests.fakes.runtime import FakeRuntime, Script

METADATA = "https://example.org/metadata.json"
COMPOSE = "https://example.org/compose.yml"
CONFIG = "https://example.org/c.json"


class WokenSender:
    """Counts wake-ups; transactions are mined when a test calls `mine`, or by the `true` sender."""

    def __init__(self) -> None:
        self.wakes = 0
        self.true: Sender | None = None

    def wake(self) -> None:
        self.wakes += 1
        if self.true is not None:
            self.true.wake()

    def signing(self, intents: Sequence[Intent]) -> AbstractAsyncContextManager[Sequence[SignedTx]]:
        return self.true.signing(intents) if self.true is not None else nullcontext(())

    async def observe(self, block: Block, facts: Sequence[Fact]) -> None:
        if self.true is not None:
            await self.true.observe(block, facts)


@dataclass
class Outside:
    """What outlives a daemon: the world, its journal, and running containers."""

    clock: FakeClock = field(default_factory=FakeClock)
    journal: MemoryStore = field(default_factory=MemoryStore)
    content: FakeContent = field(default_factory=FakeContent)
    runtime: FakeRuntime = field(default_factory=FakeRuntime)
    chain: FakeChain = field(init=False)
    boots: int = 0
    nonce: int = 0

    def __post_init__(self) -> None:
        self.chain = FakeChain(self.clock)
        self.content.documents[METADATA] = json.dumps({"cpu": COMPOSE, "name": "twice"}).encode()
        self.content.documents[COMPOSE] = b"services: {}"
        self.config("double", {"n": 21})

    def config(self, function: str, data: object) -> None:
        """What the next task's config says."""
        self.content.documents[CONFIG] = json.dumps({"function_name": function, "data": data}).encode()

    def source(self, delivery: DeliveryMethod = DeliveryMethod.FIRST_RESPONSE, *, answers: bool = True) -> Address:
        """Publish a source with one function, `double(n)`, and register to it."""
        source = self.chain.publish_source(metadata_url=METADATA, delivery=delivery).source
        self.runtime.scripts[source] = Script({"double": (_double, ("n",))}, answers=answers)
        self.chain.register(source)
        return source


def _double(data: object) -> object:
    assert isinstance(data, dict)
    return {"result": 2 * data["n"]}


@dataclass
class Daemon:
    """One run of the path over an `Outside`."""

    outside: Outside
    path: TaskPath
    scheduler: HostScheduler
    services: list[asyncio.Future[None]] = field(default_factory=list)

    @property
    def ports(self) -> Ports:
        return self.path.ports

    @property
    def conductor(self) -> Conductor:
        return self.path.conductor

    @property
    def reckoning(self) -> Reckoning:
        return self.path.reckoning

    @property
    def keeper(self) -> SourceKeeper:
        return self.path.keeper

    @property
    def intake(self) -> Intake:
        return self.path.intake

    @property
    def results(self) -> ResultSink:
        return self.path.results

    async def block(self, *facts: Fact) -> None:
        """Deliver a block with these facts and let everything run."""
        await self.intake.deliver(self.outside.chain.block(), facts)
        await settle()

    async def task(self, address: Address) -> Task:
        row = await self.outside.journal.task(address)
        assert row is not None
        return row

    async def state(self, address: Address) -> TaskState:
        return (await self.task(address)).state

    async def sign(self) -> list[tuple[Effect, Address, Hash]]:
        """Sign and send what is planned, as the sender does; returns effect, subject and transaction."""
        signed = []
        for row in await self.outside.journal.open_intents():
            if row.state is IntentState.PLANNED:
                self.outside.nonce += 1
                tx = Hash(f"0x{self.outside.nonce:064x}")
                await self.outside.journal.put_signed(
                    SignedTx(tx, row.intent.key, self.outside.nonce, b"raw", 1, 1, None, self.outside.clock.now())
                )
                await self.outside.journal.set_state(row.intent.key, IntentState.SENT, at=self.outside.clock.now())
                signed.append((row.intent.effect, row.intent.subject, tx))
        return signed

    async def mine(self) -> list[Effect]:
        """One block with all planned transactions in it."""
        facts: list[Fact] = []
        effects = []
        chain = self.outside.chain
        block = chain.block()
        for effect, subject, tx in await self.sign():
            effects.append(effect)
            if effect is Effect.REGISTER:
                facts.append(chain.register(subject))
            elif effect is Effect.UNREGISTER:
                chain.unregister(subject)
            elif effect is Effect.ATTEMPT:
                facts += chain.attempt(subject, tx=tx)
            else:
                facts += chain.submit(subject, tx=tx)
        for row in await self.outside.journal.open_intents():
            await self.outside.journal.set_state(
                row.intent.key, IntentState.MINED, at=self.outside.clock.now(), block_number=block.number
            )
        await self.intake.deliver(block, facts)
        await settle()
        return effects

    async def confirm(self) -> None:
        """The sender finds every mined transaction deep enough."""
        for row in await self.outside.journal.open_intents():
            if row.state is IntentState.MINED:
                done = await self.outside.journal.set_state(
                    row.intent.key, IntentState.CONFIRMED, at=self.outside.clock.now()
                )
                await self.reckoning.on_intent(done)
        await settle()

    async def publish(self, source: Address, *, payment: int = COIN, lasts: int = 600) -> Address:
        fact = self.outside.chain.publish_task(source, payment=payment, lasts=lasts, config_url=CONFIG)
        await self.block(fact)
        return fact.task

    @property
    def leases(self) -> Sequence[str]:
        return [lease.holder for lease in self.scheduler.snapshot().leases]


@asynccontextmanager
async def running(
    outside: Outside,
    *,
    slots: int = 2,
    host: Host | None = None,
    policy: Policy | None = None,
    admission: AdmissionPolicy | None = None,
    sources: SourcePolicy | None = None,
    looked: asyncio.Event | None = None,
    knowledge: Knowledge | None = None,
    assess: Callable[[Candidate], Circumstances] | None = None,
    sharing: Sharing | None = None,
    line: LinePolicy | None = None,
) -> AsyncIterator[Daemon]:
    """A daemon's path over `outside`, stopped (as a crash would) at the end."""
    outside.boots += 1
    judge = Assessment(AssessmentPolicy(), knowledge).circumstances if knowledge else assess
    scheduler = HostScheduler(host or Host(slots), admission or AdmissionPolicy(), judge, sharing, line)
    ports = Ports(
        journal=outside.journal,
        chain=outside.chain,
        sender=WokenSender(),
        content=outside.content,
        runtime=outside.runtime,
        scheduler=scheduler,
        clock=outside.clock,
        boot=f"boot{outside.boots}",
        started_at=outside.clock.now(),
        policy=policy or Policy(confirmations=1),
    )
    path = TaskPath(ports, sources or SourcePolicy(serve_all=True), looked=looked)
    scheduler.outbid = path.conductor.nudge
    outside.runtime.deliver = path.results.accept
    outside.runtime.adopted = set()
    await path.restore()
    daemon = Daemon(outside, path, scheduler)
    services = [asyncio.ensure_future(path.conductor.run()), asyncio.ensure_future(path.keeper.run())]
    daemon.services += services
    try:
        await path.started()
        await settle()
        yield daemon
    finally:
        for service in services:
            service.cancel()
        await asyncio.gather(*services, return_exceptions=True)
        outside.runtime.deliver = None


async def serving(daemon: Daemon, source: Address) -> None:
    """Assert that the source is ready."""
    await settle()
    row = daemon.ports.book.get(source)
    assert row is not None
    assert row.state is SourceState.READY, (row.code, row.reason)
