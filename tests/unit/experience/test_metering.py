"""Memory and energy as seen while work runs; two sources on one card, and one of them running out of its memory."""

import asyncio
import json
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from ogpu_provider.domain.errors import EngineError, Retry
from ogpu_provider.domain.learnt import Fact, Key, Knowledge
from ogpu_provider.domain.project import Occupant
from ogpu_provider.domain.resources import Device, Host, source_holder
from ogpu_provider.domain.source import Environment, SourceState
from ogpu_provider.domain.task import TaskState
from ogpu_provider.domain.units import Address
from ogpu_provider.metering import PACE_S, Metering
from ogpu_provider.pipeline.lessons import Lessons
from ogpu_provider.scheduler.reading import DeviceReading, Gauges, GpuProcess
from ogpu_provider.scheduler.sharing import Sharing
from tests.fakes.clock import settle
from tests.fakes.runtime import Script
from tests.unit.pipeline.stage import COMPOSE, METADATA, Daemon, Outside, running, serving

GIB = 1 << 30
CARD = Device("GPU-1", Environment.NVIDIA, "RTX 4090", 24 * GIB)


@dataclass
class Containers:
    """Processes by their containers; `short` have printed that memory did not suffice."""

    outside: Outside
    pids: dict[int, Occupant] = field(default_factory=dict)
    short: set[Address] = field(default_factory=set)
    daemon: Daemon | None = None

    async def occupants(self, pids: Collection[int]) -> Mapping[int, Occupant]:
        return {pid: self.pids[pid] for pid in pids if pid in self.pids}

    async def listen(self, source: Address, since: float) -> None:
        if source in self.short:
            self.short.discard(source)
            error = EngineError("CUDA out of memory", code="engine.device_memory", retry=Retry.LATER)
            self.outside.runtime.scripts[source].fails["health"] = [error] * 2  # its task asks, and the keeper
            assert self.daemon is not None
            self.daemon.keeper.changed(source)
            self.daemon.conductor.nudge_source(source)


@dataclass
class Bench:
    """Two GPU sources, one card."""

    outside: Outside
    daemon: Daemon
    containers: Containers
    metering: Metering
    knowledge: Knowledge
    sources: list[Address]

    def reading(self, energy: float = 0.0, **memory: int) -> list[DeviceReading]:
        processes = tuple(GpuProcess(int(pid[1:]), taken) for pid, taken in memory.items())
        return [DeviceReading(CARD, Gauges(energy=energy), processes)]

    @property
    def leases(self) -> dict[str, int]:
        return {lease.holder: lease.memory for lease in self.daemon.scheduler.snapshot().leases if lease.devices}

    def state(self, source: Address) -> tuple[SourceState, str]:
        row = self.daemon.ports.book.get(source)
        assert row is not None
        return row.state, row.code


@asynccontextmanager
async def bench(peaks: Mapping[int, int], answers: bool = False) -> AsyncIterator[Bench]:
    """`peaks`: GiB that the sources are known to take, by their number."""
    outside, knowledge = Outside(), Knowledge()
    outside.content.documents[METADATA] = json.dumps({"nvidia": COMPOSE, "name": "gpu"}).encode()
    outside.config("f", {})
    sources = []
    for n in range(2):
        published = outside.chain.publish_source(environments=frozenset({Environment.NVIDIA}), metadata_url=METADATA)
        sources.append(published.source)
        outside.runtime.scripts[sources[n]] = Script({"f": (lambda data: data, ())}, devices=1, answers=answers)
        outside.chain.register(sources[n], environment=Environment.NVIDIA)
    for n, taken in peaks.items():
        knowledge.add(Key(Fact.PEAK_MEMORY, sources[n], CARD.name), taken * GIB, at=0)
    containers = Containers(outside, {n: Occupant(sources[n], sources[n], f"c{n}") for n in range(2)})
    async with running(outside, slots=4, host=Host(4, (CARD,)), sharing=Sharing(knowledge)) as daemon:
        lessons = Lessons(outside.journal, outside.clock, knowledge)
        metering = Metering(outside.clock, containers, lessons, daemon.scheduler)
        daemon.conductor._observe = metering.moved
        daemon.keeper._placing._out_of_memory = metering.out_of_memory
        containers.daemon = daemon
        service = asyncio.ensure_future(metering.run())
        await settle()
        yield Bench(outside, daemon, containers, metering, knowledge, sources)
        service.cancel()


async def test_peaks_that_fit_put_two_sources_on_one_card_and_the_journal_knows_their_shares() -> None:
    async with bench({0: 10, 1: 12}) as b:
        assert [b.state(source)[0] for source in b.sources] == [SourceState.READY] * 2
        assert sorted(b.leases.values()) == [10 * GIB, 12 * GIB]
        rows = {row.address: row for row in await b.outside.journal.sources()}
        assert [rows[source].device_memory for source in b.sources] == [10 * GIB, 12 * GIB]
        before = b.leases
        outside = b.outside
    async with running(outside, slots=4, host=Host(4, (CARD,)), sharing=Sharing(Knowledge())) as again:
        found = {lease.holder: lease.memory for lease in again.scheduler.snapshot().leases if lease.devices}
        assert found == before, "restored leases equal the live ones, whatever is known of peaks"


async def test_an_operator_who_wants_no_sharing_any_more_gets_a_card_for_one() -> None:
    async with bench({0: 10, 1: 12}) as b:
        assert [b.state(source)[0] for source in b.sources] == [SourceState.READY] * 2
        outside, sources = b.outside, b.sources
    async with running(outside, slots=4, host=Host(4, (CARD,))) as again:
        await settle()
        await outside.clock.advance(60)
        rows = [again.ports.book.get(source) for source in sources]
        assert sorted((row.state, row.code) for row in rows if row) == [
            (SourceState.READY, ""),
            (SourceState.UNFIT, "capacity.devices"),
        ]
        [lease] = [lease for lease in again.scheduler.snapshot().leases if lease.devices]
        assert lease.memory == 0


async def test_after_a_restart_what_is_in_containers_is_listened_to_and_its_energy_is_not_guessed() -> None:
    async with bench({0: 10, 1: 12}) as b:
        task = await b.daemon.publish(b.sources[0])
        await b.daemon.mine()
        row = await b.daemon.task(task)
        again = Metering(
            b.outside.clock, b.containers, Lessons(b.outside.journal, b.outside.clock, b.knowledge), b.daemon.scheduler
        )
        again.resume([row])
        b.containers.short.add(b.sources[0])
        await again._listen()
        assert b.containers.short == set()
        await again.look(b.reading(100.0))
        again.moved(replace(row, state=TaskState.PRODUCED), TaskState.EXECUTING)
        await again.look(b.reading(900.0))
        assert b.knowledge.get(Fact.ENERGY, b.sources[0], "f") is None


async def test_peaks_that_do_not_fit_or_are_not_known_leave_the_second_waiting() -> None:
    for peaks in ({0: 10, 1: 14}, {0: 10}, {1: 3}, {}):
        async with bench(peaks) as b:
            states = sorted(b.state(source) for source in b.sources)
            assert states == [(SourceState.READY, ""), (SourceState.UNFIT, "capacity.devices")], peaks


async def test_a_peak_is_learnt_from_a_task_during_which_memory_was_read_and_lets_the_second_in() -> None:
    async with bench({1: 12}, answers=False) as b:
        first, second = b.sources
        await serving(b.daemon, first)
        await b.metering.look(b.reading(p0=5 * GIB))
        assert b.knowledge.get(Fact.PEAK_MEMORY, first, CARD.name) is None, "nothing runs yet"
        task = await b.daemon.publish(first)
        await b.daemon.mine()
        assert await b.daemon.state(task) is TaskState.EXECUTING
        for taken in (8, 10, 9):
            await b.metering.look(b.reading(p0=taken * GIB, p1=20 * GIB, p99=2 * GIB))
        assert b.knowledge.get(Fact.PEAK_MEMORY, first, CARD.name) is None, "its first task is not done"
        await b.daemon.results.accept(first, task, b"{}")
        await settle()
        assert b.knowledge.highest(Fact.PEAK_MEMORY, first, CARD.name) == 10 * GIB
        assert b.state(second) == (SourceState.UNFIT, "capacity.devices")
        await b.outside.clock.advance(20)
        assert b.state(second)[0] is SourceState.READY
        assert b.leases == {source_holder(first): 10 * GIB, source_holder(second): 12 * GIB}


async def test_energy_is_metered_for_the_function_that_ran() -> None:
    async with bench({0: 10, 1: 12}) as b:
        task = await b.daemon.publish(b.sources[0])
        await b.metering.look(b.reading(1000.0))
        await b.daemon.mine()
        await b.metering.look(b.reading(1000.0))
        await b.outside.clock.advance(4)
        await b.daemon.results.accept(b.sources[0], task, b"{}")
        await settle()
        await b.metering.look(b.reading(1800.0))
        assert b.knowledge.quantile(0.5, Fact.ENERGY, b.sources[0], "f") == 800.0


async def test_one_that_runs_out_of_memory_is_paused_alone_and_its_part_of_the_card_is_free_within_10_seconds() -> None:
    async with bench({0: 10, 1: 12}) as b:
        ill, well = b.sources
        tasks = {source: await b.daemon.publish(source) for source in b.sources}
        await b.daemon.mine()
        assert [await b.daemon.state(task) for task in tasks.values()] == [TaskState.EXECUTING] * 2
        await b.outside.clock.advance(7 * PACE_S)
        b.containers.short.add(ill)
        began = b.outside.clock.now()
        while source_holder(ill) in b.leases:
            assert b.outside.clock.now() - began <= 10
            await b.outside.clock.advance(0.5)
        assert b.outside.runtime.stopped == [ill], "its containers are gone, and nobody else's"
        assert b.state(ill) == (SourceState.UNFIT, "engine.device_memory")
        assert b.state(well) == (SourceState.READY, "")
        assert await b.daemon.state(tasks[well]) is TaskState.EXECUTING
        await b.daemon.results.accept(well, tasks[well], b"{}")
        await settle()
        assert await b.daemon.state(tasks[well]) is TaskState.SUBMITTED
        await b.outside.clock.advance(30)
        assert b.state(ill) == (SourceState.UNFIT, "capacity.devices"), "from now on it wants a card of its own"
        assert b.state(well) == (SourceState.READY, "")


async def test_one_whose_container_ran_out_of_main_memory_is_paused_too_and_may_share_again() -> None:
    async with bench({0: 10, 1: 12}) as b:
        ill, well = b.sources
        error = EngineError("app ended: out of memory", code="engine.oom", retry=Retry.LATER)
        b.outside.runtime.scripts[ill].fails["health"] = [error]
        b.daemon.keeper.changed(ill)
        await settle()
        assert b.outside.runtime.stopped == [ill]
        assert b.state(ill) == (SourceState.UNFIT, "engine.oom")
        assert b.leases == {source_holder(well): 12 * GIB}
        await b.outside.clock.advance(20)
        assert b.state(ill) == (SourceState.READY, "")
        assert b.leases == {source_holder(ill): 10 * GIB, source_holder(well): 12 * GIB}


async def test_readings_come_faster_while_a_task_runs_on_a_card_and_at_once_when_one_begins() -> None:
    async with bench({0: 10, 1: 12}) as b:
        waits = asyncio.ensure_future(b.metering.pause(10))
        await b.outside.clock.advance(5)
        assert not waits.done()
        await b.daemon.publish(b.sources[0])
        await b.daemon.mine()
        await settle()
        assert waits.done()
        waits = asyncio.ensure_future(b.metering.pause(10))
        await b.outside.clock.advance(PACE_S)
        assert waits.done()
