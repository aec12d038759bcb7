"""A task that waits for its source knows how long that takes: what cannot be done before it expires is declined."""

import asyncio
from dataclasses import dataclass, field

from ogpu_provider.domain.learnt import Fact, Key, Knowledge
from ogpu_provider.domain.project import ProjectSpec
from ogpu_provider.domain.source import SourceState
from ogpu_provider.domain.task import TaskState
from ogpu_provider.domain.units import Address
from tests.fakes.clock import settle
from tests.fakes.runtime import FakeRuntime
from tests.unit.pipeline.stage import Daemon, Outside, running

S = TaskState
MIB = 1 << 20


@dataclass(slots=True)
class Pulling(FakeRuntime):
    """A runtime that still pulls: `left` bytes, and `up` does not return before `pulled`."""

    left: int = 0
    pulled: asyncio.Event = field(default_factory=asyncio.Event)

    async def pull_left(self, source: Address) -> int:
        return self.left

    async def up(self, spec: ProjectSpec) -> None:
        await self.pulled.wait()
        await FakeRuntime.up(self, spec)


def seen(source: Address) -> Knowledge:
    """10 MiB a second, 20 s for a start, 30 s for a run."""
    knowledge = Knowledge()
    knowledge.add(Key(Fact.PULL_RATE), 10 * MIB, at=0)
    knowledge.add(Key(Fact.COLD_START, source), 20, at=0)
    knowledge.add(Key(Fact.RUN, source, "double"), 30, at=0)
    return knowledge


async def wanted(daemon: Daemon, source: Address) -> None:
    await settle()
    row = daemon.ports.book.get(source)
    assert row is not None
    assert row.state is SourceState.WANTED


async def test_what_does_not_fit_behind_the_pull_is_declined_with_the_estimate() -> None:
    runtime = Pulling(left=1000 * MIB)
    outside = Outside(runtime=runtime)
    source = outside.source()
    async with running(outside, knowledge=seen(source)) as daemon:
        await wanted(daemon, source)
        short = await daemon.publish(source, lasts=150)
        long = await daemon.publish(source, lasts=400)
        row = await daemon.task(short)
        assert (row.state, row.code) == (S.DECLINED, "time.too_short")
        assert "pull 100, start 20.0, run 30.0, pin 1.0, blocks 2.0 s" in row.reason
        assert await daemon.state(long) is S.SEEN
        runtime.left = 0
        runtime.pulled.set()
        await settle()
        assert await daemon.state(long) is S.SUBMITTED


async def test_as_the_pull_goes_on_the_same_task_fits() -> None:
    runtime = Pulling(left=100 * MIB)
    outside = Outside(runtime=runtime)
    source = outside.source()
    async with running(outside, knowledge=seen(source)) as daemon:
        await wanted(daemon, source)
        assert await daemon.state(await daemon.publish(source, lasts=150)) is S.SEEN


async def test_where_nothing_was_measured_it_waits() -> None:
    runtime = Pulling(left=1000 * MIB)
    outside = Outside(runtime=runtime)
    source = outside.source()
    async with running(outside, knowledge=Knowledge()) as daemon:
        await wanted(daemon, source)
        assert await daemon.state(await daemon.publish(source, lasts=150)) is S.SEEN


async def test_what_is_owed_waits_whatever_the_estimate() -> None:
    runtime = Pulling(left=1000 * MIB)
    outside = Outside(runtime=runtime)
    source = outside.source()
    async with running(outside, knowledge=seen(source)) as daemon:
        await wanted(daemon, source)
        published = outside.chain.publish_task(source, lasts=150, config_url="https://example.org/c.json")
        await daemon.block(published, *outside.chain.attempt(published.task))
        row = await daemon.task(published.task)
        assert (row.obliged, row.state) == (True, S.SEEN)
