"""Which sources stay up: the one without work for longest makes room, is served as before, and comes up for a task."""

import json

import pytest

from ogpu_provider.domain.approval import OnChange
from ogpu_provider.domain.learnt import Fact, Key, Knowledge
from ogpu_provider.domain.resources import Device, Host, MemoryReading
from ogpu_provider.domain.source import Environment, SourceState
from ogpu_provider.domain.task import TaskState
from ogpu_provider.domain.units import Address
from ogpu_provider.pipeline.pressure import PAUSE_S, Pressure, PressurePolicy
from ogpu_provider.pipeline.wishes import SourcePolicy
from tests.fakes.clock import settle
from tests.fakes.runtime import Script
from tests.unit.pipeline.stage import COMPOSE, METADATA, Daemon, Outside, running, serving

CARD = Device("GPU-1", Environment.NVIDIA, "card", 24 << 30)
POLICY = SourcePolicy(serve_all=True, idle_after=1200.0, warm_for=300.0)


@pytest.fixture
def outside() -> Outside:
    return Outside()


def on_gpu(outside: Outside) -> Address:
    """A source that needs one card, and answers only when a test does."""
    outside.content.documents[METADATA] = json.dumps({"nvidia": COMPOSE, "name": "gpu"}).encode()
    environments = frozenset({Environment.NVIDIA})
    source = outside.chain.publish_source(environments=environments, metadata_url=METADATA).source
    outside.runtime.scripts[source] = Script({"f": (lambda data: data, ())}, devices=1, answers=False)
    outside.chain.register(source, environment=Environment.NVIDIA)
    outside.config("f", {})
    return source


async def state(daemon: Daemon, source: Address) -> tuple[SourceState, str]:
    await settle()
    row = daemon.ports.book.get(source)
    assert row is not None
    return row.state, row.code


class Host100:
    """A host of 100 MiB; `free` of them are available."""

    def __init__(self, free: int) -> None:
        self.free = free

    def read(self) -> MemoryReading:
        return MemoryReading(100 << 20, self.free << 20)


def pressed(daemon: Daemon, gauge: Host100, policy: PressurePolicy = PressurePolicy(memory=0.1)) -> Pressure:  # noqa: B008
    return Pressure(daemon.ports, policy, gauge.read, daemon.keeper.cool_idle)


async def looks(daemon: Daemon, pressure: Pressure, number: int) -> None:
    for _ in range(number):
        await daemon.outside.clock.advance(PAUSE_S)
        await pressure.look()
        await settle()


async def test_the_source_without_work_for_longest_makes_room_and_only_as_many_as_needed(outside: Outside) -> None:
    sources = [outside.source() for _ in range(3)]
    async with running(outside, sources=POLICY) as daemon:
        for source in sources:
            await serving(daemon, source)
        await outside.clock.advance(1000)
        busy, recent, idle = sources
        outside.runtime.scripts[busy].answers = False
        await daemon.publish(busy)
        await daemon.mine()
        done = await daemon.publish(recent)
        assert (await daemon.state(done)) is not TaskState.DECLINED
        await outside.clock.advance(400)
        host = Host100(free=5)
        alarms = pressed(daemon, host)
        await looks(daemon, alarms, 1)
        assert outside.runtime.stopped == [], "one look may be wrong"
        await looks(daemon, alarms, 1)
        assert outside.runtime.stopped == [idle]
        assert await state(daemon, idle) == (SourceState.COLD, "source.cooled")
        host.free = 50
        await looks(daemon, alarms, 10)
        assert outside.runtime.stopped == [idle]
        host.free = 5
        await looks(daemon, alarms, 20)
        assert busy in outside.runtime.running, "it works"


async def test_a_task_for_a_source_that_is_down_is_taken_and_brings_it_up(outside: Outside) -> None:
    source = outside.source()
    async with running(outside, sources=POLICY) as daemon:
        await serving(daemon, source)
        await outside.clock.advance(400)
        await looks(daemon, pressed(daemon, Host100(free=5)), 2)
        assert await state(daemon, source) == (SourceState.COLD, "source.cooled")
        daemon.keeper.changed(source)
        await settle()
        assert outside.runtime.running == {}, "nothing was asked of it"
        task = await daemon.publish(source)
        assert outside.runtime.started == [source, source]
        assert await state(daemon, source) == (SourceState.READY, "")
        await daemon.mine()
        assert [call.task for call in outside.runtime.dispatched] == [task]
        assert await daemon.state(task) is TaskState.SUBMITTED


async def test_a_start_that_would_take_too_long_is_not_begun(outside: Outside) -> None:
    """What a start takes here is known: it counts before anything is promised, and before anything is started."""
    source = outside.source()
    knowledge = Knowledge()
    knowledge.add(Key(Fact.COLD_START, source), 120.0, at=1.0)
    async with running(outside, sources=POLICY, knowledge=knowledge) as daemon:
        await serving(daemon, source)
        await outside.clock.advance(400)
        await looks(daemon, pressed(daemon, Host100(free=5)), 2)
        short = await daemon.publish(source, lasts=100)
        assert await daemon.state(short) is TaskState.DECLINED
        assert outside.runtime.started == [source]
        long = await daemon.publish(source, lasts=600)
        await daemon.mine()
        assert await daemon.state(long) is TaskState.SUBMITTED


async def test_what_a_task_asks_of_a_source_that_is_down_is_judged_when_it_answers(outside: Outside) -> None:
    source = outside.source()
    outside.config("double", {"wrong": 1})
    async with running(outside, sources=POLICY) as daemon:
        await serving(daemon, source)
        await outside.clock.advance(400)
        await looks(daemon, pressed(daemon, Host100(free=5)), 2)
        task = await daemon.publish(source)
        row = await daemon.task(task)
        assert row.state is TaskState.DECLINED
        assert outside.runtime.dispatched == []
        assert await daemon.mine() == [], "nothing was promised"


async def test_under_lasting_pressure_a_source_that_came_up_stays_up_for_a_while(outside: Outside) -> None:
    one, other = outside.source(), outside.source()
    async with running(outside, sources=POLICY) as daemon:
        await serving(daemon, one)
        await outside.clock.advance(400)
        alarms = pressed(daemon, Host100(free=1))
        for _ in range(40):  # 20 minutes of pressure, a task for one or the other every 30 s
            for source in (one, other):
                await daemon.publish(source)
                await daemon.mine()
                await daemon.confirm()
            await looks(daemon, alarms, 6)
        assert len(outside.runtime.started) == 2, "both are in use"
        starts = len(outside.runtime.started)
        for _ in range(4):  # 40 minutes, a task every 10 minutes
            await looks(daemon, alarms, 120)
            await daemon.publish(one)
            await daemon.mine()
            await daemon.confirm()
        assert len(outside.runtime.started) - starts == 4, "once for each task, and never in between"


async def test_only_sources_on_a_full_card_make_room_for_it(outside: Outside) -> None:
    cpu = outside.source()
    async with running(outside, sources=POLICY) as daemon:
        await serving(daemon, cpu)
        row = daemon.ports.book.get(cpu)
        await outside.clock.advance(400)
        full = Device("GPU-1", Environment.NVIDIA, "card", 100 << 20, memory_used=99 << 20)
        daemon.scheduler.observe(Host(2, (full,)))
        alarms = pressed(daemon, Host100(free=90), PressurePolicy(memory=0.1, device_memory=0.05))
        await looks(daemon, alarms, 4)
        assert outside.runtime.stopped == []
        assert row is not None
        daemon.ports.book.put(row.__class__(**{f: getattr(row, f) for f in row.__slots__} | {"devices": ("GPU-1",)}))
        await looks(daemon, alarms, 2)
        assert outside.runtime.stopped == [cpu]


async def test_a_share_of_nothing_never_takes_anybody_down(outside: Outside) -> None:
    source = outside.source()
    async with running(outside, sources=POLICY) as daemon:
        await serving(daemon, source)
        await outside.clock.advance(1000)
        await looks(daemon, pressed(daemon, Host100(free=0), PressurePolicy(memory=0.0)), 10)
        assert await state(daemon, source) == (SourceState.READY, "")


async def test_an_idle_source_gives_its_devices_and_gets_them_back_for_a_task(outside: Outside) -> None:
    """They take turns, not faster than the setting says; one that works keeps what it has."""
    both = [on_gpu(outside) for _ in range(2)]
    async with running(outside, host=Host(2, (CARD,)), sources=POLICY) as daemon:
        await settle()
        first = next(source for source in both if source in outside.runtime.running)
        second = next(source for source in both if source != first)
        await outside.clock.advance(1100)
        assert await state(daemon, second) == (SourceState.UNFIT, "capacity.devices")
        await outside.clock.advance(800)
        assert list(outside.runtime.running) == [second]
        assert await state(daemon, second) == (SourceState.READY, "")
        assert await state(daemon, first) == (SourceState.COLD, "source.cooled")
        assert outside.runtime.stopped[-1] == first
        work = await daemon.publish(second, lasts=20_000)
        waits = await daemon.publish(first, lasts=20_000)
        await outside.clock.advance(2500)
        assert list(outside.runtime.running) == [second], "it works"
        assert await daemon.state(waits) is TaskState.SEEN
        assert await state(daemon, first) == (SourceState.COLD, "capacity.devices")
        await daemon.results.accept(second, work, b"{}")
        await outside.clock.advance(1900)
        assert list(outside.runtime.running) == [first], "there is a task for it"
        assert await daemon.state(waits) is TaskState.EXECUTING


async def test_a_restart_brings_up_what_made_room(outside: Outside) -> None:
    source = outside.source()
    async with running(outside, sources=POLICY) as daemon:
        await serving(daemon, source)
        await outside.clock.advance(400)
        await looks(daemon, pressed(daemon, Host100(free=5)), 2)
        assert await state(daemon, source) == (SourceState.COLD, "source.cooled")
    async with running(outside, sources=POLICY) as again:
        await serving(again, source)


async def test_a_changed_file_waits_for_the_tasks_that_are_in_the_containers(outside: Outside) -> None:
    source = outside.source(answers=False)
    policy = SourcePolicy(serve_all=True, compose_change=OnChange.SAME_IMAGES)
    outside.content.documents[COMPOSE] = b"image: a"
    async with running(outside, sources=policy) as daemon:
        await serving(daemon, source)
        task = await daemon.publish(source)
        await daemon.mine()
        assert await daemon.state(task) is TaskState.EXECUTING
        outside.content.documents[COMPOSE] = b"image: a\n# another file, the same images"
        daemon.keeper.changed(source)
        assert await state(daemon, source) == (SourceState.WANTED, "source.finishing")
        assert outside.runtime.started == [source], "the task goes on in the containers that it is in"
        later = await daemon.publish(source)
        assert await daemon.state(later) is TaskState.SEEN
        await daemon.results.accept(source, task, b"{}")
        await settle()
        assert outside.runtime.running[source].compose == outside.content.documents[COMPOSE]
        assert await state(daemon, source) == (SourceState.READY, "")
        assert await daemon.state(task) is TaskState.SUBMITTED
        assert [call.task for call in outside.runtime.dispatched].count(task) == 1
        await daemon.mine()
        assert await daemon.state(later) is TaskState.EXECUTING
