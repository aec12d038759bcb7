"""New tasks go first: they are looked at while their rows are stored, and the rest of their block waits a moment."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from ogpu_provider.domain.errors import Retry, StoreError
from ogpu_provider.domain.facts import Block
from ogpu_provider.domain.intent import Effect, Intent, SignedTx
from ogpu_provider.domain.task import Task, TaskState, Transition
from ogpu_provider.domain.units import COIN, Address, Hash
from ogpu_provider.store.memory import MemoryStore
from tests.fakes.clock import settle
from tests.fakes.content import FakeContent
from tests.fakes.loop import run as jumping
from tests.unit.pipeline.stage import CONFIG, Daemon, Outside, running, serving

S = TaskState


class SlowDisk(MemoryStore):
    """`written` says which rows and states were asked for; `disk` lets new rows through, `error` is raised instead."""

    def __init__(self) -> None:
        super().__init__()
        self.disk = asyncio.Event()
        self.disk.set()
        self.error: Exception | None = None
        self.written: list[tuple[Address, str]] = []

    async def insert(self, tasks: Sequence[Task], cursor: Block | None = None) -> list[Task]:
        if tasks:
            await self.disk.wait()
            if self.error is not None:
                raise self.error
        self.written += [(task.address, "new") for task in tasks]
        return await super().insert(tasks, cursor)

    async def save(self, task: Task, *steps: Transition, at: float, boot: str, signed: Sequence[SignedTx] = ()) -> Task:
        self.written += [(task.address, str(step.to)) for step in steps]
        return await super().save(task, *steps, at=at, boot=boot, signed=signed)

    async def amend(self, task: Task, changes: Mapping[str, object], *, at: float) -> Task:
        self.written.append((task.address, "amended"))
        return await super().amend(task, changes, at=at)


class SlowContent(FakeContent):
    def __init__(self, documents: dict[str, bytes]) -> None:
        super().__init__()
        self.documents = documents
        self.there = asyncio.Event()
        self.there.set()

    async def get(self, url: str, *, limit: int) -> bytes:
        await self.there.wait()
        return await super().get(url, limit=limit)


@pytest.fixture
def disk() -> SlowDisk:
    return SlowDisk()


@pytest.fixture
def outside(disk: SlowDisk) -> Outside:
    return Outside(journal=disk)


async def publish(daemon: Daemon, source: Address) -> tuple[Address, asyncio.Future[None]]:
    fact = daemon.outside.chain.publish_task(source, config_url=CONFIG)
    delivery = asyncio.ensure_future(daemon.intake.deliver(daemon.outside.chain.block(), [fact]))
    await settle()
    return fact.task, delivery


async def test_a_new_task_is_looked_at_while_its_row_is_stored_and_nothing_is_done_before(
    outside: Outside, disk: SlowDisk
) -> None:
    source = outside.source()
    async with running(outside) as daemon:
        await serving(daemon, source)
        disk.disk.clear()
        task, delivery = await publish(daemon, source)
        assert outside.chain.calls["published"] == 1
        assert disk.written == []
        assert not outside.runtime.dispatched
        disk.disk.set()
        await delivery
        await settle()
        assert disk.written[0] == (task, "new")
        assert await daemon.state(task) is S.SUBMITTED
        assert outside.chain.calls["published"] == 1


async def test_a_row_that_could_not_be_stored_is_forgotten_and_holds_nothing(outside: Outside, disk: SlowDisk) -> None:
    source = outside.source()
    async with running(outside) as daemon:
        await serving(daemon, source)
        disk.disk.clear()
        disk.error = StoreError("full", code="store.full", retry=Retry.LATER)
        task, delivery = await publish(daemon, source)
        assert len(daemon.leases) == 2  # the source's and the task's
        disk.disk.set()
        with pytest.raises(StoreError):
            await delivery
        await settle()
        assert len(daemon.leases) == 1
        assert not daemon.conductor.follows(task)
        disk.error = None
        await daemon.intake.deliver(outside.chain.block(), [])
        assert disk.written == []


async def test_a_task_that_is_over_is_looked_at_and_left(outside: Outside, disk: SlowDisk) -> None:
    """Its block is delivered again, as after a reorganisation."""
    source = outside.source()
    async with running(outside) as daemon:
        await serving(daemon, source)
        outside.config("unknown", {})
        fact = outside.chain.publish_task(source, config_url=CONFIG)
        await daemon.block(fact)
        assert await daemon.state(fact.task) is S.DECLINED
        outside.config("double", {"n": 21})
        await daemon.block(fact)
        assert await daemon.state(fact.task) is S.DECLINED
        assert not daemon.conductor.follows(fact.task)
        assert len(daemon.leases) == 1


def test_what_a_block_says_of_older_tasks_comes_after_the_first_step_of_its_new_ones(
    outside: Outside, disk: SlowDisk
) -> None:
    async def story() -> None:
        source = outside.source(answers=False)
        async with running(outside, slots=4) as daemon:
            await serving(daemon, source)
            older = await daemon.publish(source)
            assert await daemon.state(older) is S.EXECUTING
            disk.written.clear()
            new = outside.chain.publish_task(source, config_url=CONFIG)
            await daemon.block(outside.chain.cancel(older), new)
            assert await daemon.state(older) is S.CANCELED
            assert await daemon.state(new.task) is S.EXECUTING
            assert disk.written.index((new.task, "executing")) < disk.written.index((older, "canceled"))

    jumping(story())  # no time passes while there is something to do


async def test_a_new_task_whose_config_does_not_come_does_not_hold_up_the_others(outside: Outside) -> None:
    outside.content = content = SlowContent(outside.content.documents)
    source = outside.source(answers=False)
    async with running(outside, slots=4) as daemon:
        await serving(daemon, source)
        older = await daemon.publish(source)
        content.there.clear()
        new = outside.chain.publish_task(source, config_url=CONFIG)
        await daemon.block(outside.chain.cancel(older), new)
        assert await daemon.state(older) is S.CANCELED
        assert await daemon.state(new.task) is S.SEEN
        content.there.set()
        await settle()
        assert await daemon.state(new.task) is S.EXECUTING


async def test_a_step_and_its_signed_bytes_are_one_commit(outside: Outside, disk: SlowDisk) -> None:
    source = outside.source()
    async with running(outside) as daemon:
        await serving(daemon, source)
        signing = Signing()
        daemon.ports.sender.true = signing  # type: ignore[attr-defined]
        task = await daemon.publish(source)
        assert [(str(effect), ok) for effect, ok in signing.signed] == [("attempt", True), ("submitResponse", True)]
        assert [row.state for row in await disk.intents_of(task)] == ["signed", "signed"]
        assert signing.wakes == 0


async def test_a_task_that_goes_the_same_way_again_keeps_the_transaction_that_it_had(
    outside: Outside, disk: SlowDisk
) -> None:
    source = outside.source()
    async with running(outside) as daemon:
        await serving(daemon, source)
        signing = Signing()
        daemon.ports.sender.true = signing  # type: ignore[attr-defined]
        fact = outside.chain.publish_task(source, config_url=CONFIG)
        known = outside.chain.intent_attempt(fact.task, COIN, outside.clock.now() + 99)
        assert await disk.plan(known, at=outside.clock.now())
        await daemon.block(fact)
        assert (Effect.ATTEMPT, False) in signing.signed
        attempt, response = await disk.intents_of(fact.task)
        assert attempt.intent == known
        assert (attempt.state, response.state) == ("planned", "signed")
        assert signing.wakes == 1


class Signing:
    """A sender that signs everything at once, and notes what was committed."""

    def __init__(self) -> None:
        self.wakes = 0
        self.signed: list[tuple[Effect, bool]] = []

    def wake(self) -> None:
        self.wakes += 1

    async def observe(self, block: Block, facts: Sequence[Any]) -> None: ...

    def signing(self, intents: Sequence[Intent]) -> "Signature":
        return Signature(self, intents)


def _bytes(nonce: int, one: Intent) -> SignedTx:
    return SignedTx(Hash(f"0x{nonce:064x}"), one.key, nonce, b"raw", 1, 1, 1, 1.0)


class Signature:
    def __init__(self, signing: Signing, intents: Sequence[Intent]) -> None:
        self.signing, self.intents = signing, intents

    async def __aenter__(self) -> Sequence[SignedTx]:
        nonce = len(self.signing.signed)
        return [_bytes(nonce + n, one) for n, one in enumerate(self.intents)]

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.signing.signed += [(one.effect, kind is None) for one in self.intents]
