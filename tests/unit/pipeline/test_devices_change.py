"""What sources do when the host's devices change under them: wait, move, come back."""

import asyncio
import json
from dataclasses import dataclass, field, replace

from ogpu_provider.domain.project import ProjectSpec
from ogpu_provider.domain.resources import Device, Host
from ogpu_provider.domain.source import Environment, SourceState
from ogpu_provider.domain.task import TaskState
from ogpu_provider.domain.units import Address
from ogpu_provider.domain.verdict import Reason
from ogpu_provider.pipeline.wishes import SourcePolicy
from tests.fakes.clock import settle
from tests.fakes.runtime import FakeRuntime, Script
from tests.unit.pipeline.stage import COMPOSE, METADATA, Daemon, Outside, running, serving

CARD = Device("GPU-1", Environment.NVIDIA, "card", 24 << 30)
OTHER = replace(CARD, id="GPU-2", memory_used=1 << 30)
CORDONED = replace(CARD, withheld=(Reason("gpu.cordoned", "cordoned for gpu.xid: Xid 79"),))
POLICY = SourcePolicy(serve_all=True)


def gpu_source(outside: Outside, *, answers: bool = True) -> Address:
    """A source that needs one card."""
    outside.content.documents[METADATA] = json.dumps({"nvidia": COMPOSE, "name": "gpu"}).encode()
    fact = outside.chain.publish_source(environments=frozenset({Environment.NVIDIA}), metadata_url=METADATA)
    outside.runtime.scripts[fact.source] = Script({"f": (lambda data: data, ())}, devices=1, answers=answers)
    outside.chain.register(fact.source, environment=Environment.NVIDIA)
    outside.config("f", {})
    return fact.source


def on(outside: Outside, source: Address) -> list[str]:
    return [device.id for device in outside.runtime.running[source].devices]


@dataclass(slots=True)
class Watching(FakeRuntime):
    """Notes how its source stands in the book when containers are asked for."""

    daemon: Daemon | None = None
    states: list[tuple[SourceState, str]] = field(default_factory=list)

    async def up(self, spec: ProjectSpec) -> None:
        row = self.daemon.ports.book.get(spec.source) if self.daemon else None
        if row is not None:
            self.states.append((row.state, row.code))
        await FakeRuntime.up(self, spec)


async def look(daemon: Daemon, *devices: Device) -> None:
    """As the daemon does after a reading."""
    before = {device.id for device in daemon.scheduler.host.devices if not device.withheld}
    daemon.scheduler.observe(Host(4, devices))
    if usable := {device.id for device in devices if not device.withheld} - before:
        daemon.keeper.devices_changed(usable)
    for source in daemon.scheduler.movable():
        daemon.keeper.changed(source)
    await settle()


async def test_an_idle_source_moves_from_a_cordoned_card_and_works_there() -> None:
    outside = Outside(runtime=(runtime := Watching()))
    source = gpu_source(outside)
    async with running(outside, host=Host(4, (CARD, OTHER)), sources=POLICY) as daemon:
        await serving(daemon, source)
        runtime.daemon = daemon
        assert on(outside, source) == ["GPU-1"]
        await look(daemon, CORDONED, OTHER)
        await serving(daemon, source)
        assert runtime.states == [(SourceState.WANTED, "source.moving")]  # no task is let in meanwhile
        assert on(outside, source) == ["GPU-2"]
        task = await daemon.publish(source)
        row = await outside.journal.task(task)
        assert row is not None
        assert row.state not in (TaskState.SEEN, TaskState.DECLINED)


async def test_a_source_with_a_task_at_work_moves_when_that_is_over() -> None:
    outside = Outside()
    source = gpu_source(outside, answers=False)
    async with running(outside, host=Host(4, (CARD, OTHER)), sources=POLICY) as daemon:
        await serving(daemon, source)
        task = await daemon.publish(source)
        await daemon.mine()
        await look(daemon, CORDONED, OTHER)
        assert on(outside, source) == ["GPU-1"]
        await daemon.results.accept(source, task, b'{"n": 1}')
        await settle()
        await look(daemon, CORDONED, OTHER)
        await serving(daemon, source)
        assert on(outside, source) == ["GPU-2"]
        assert outside.runtime.started == [source, source]


async def test_a_task_that_waits_for_its_card_goes_on_when_the_card_takes_work_again() -> None:
    outside = Outside()
    source = gpu_source(outside)
    in_use = replace(CARD, withheld=(Reason("gpu.foreign", "in use by quake (pid 4242, 5.0 GiB)"),))
    async with running(outside, host=Host(4, (CARD,)), sources=POLICY) as daemon:
        await serving(daemon, source)
        await look(daemon, in_use)
        task = await daemon.publish(source)
        assert daemon.conductor.waits()[task] == "GPU-1: in use by quake (pid 4242, 5.0 GiB)"
        await look(daemon, in_use)
        row = await outside.journal.task(task)
        assert row is not None
        assert row.state is TaskState.SEEN
        await look(daemon, CARD)
        row = await outside.journal.task(task)
        assert row is not None
        assert row.state not in (TaskState.SEEN, TaskState.DECLINED)


async def test_a_source_that_found_no_card_is_served_when_one_comes() -> None:
    """No GPU is never for ever: nobody has to ask again."""
    outside = Outside()
    source = gpu_source(outside)
    async with running(outside, host=Host(4), sources=POLICY) as daemon:
        await settle()
        row = daemon.ports.book.get(source)
        assert row is not None
        assert (row.state, row.code) == (SourceState.UNFIT, "environment.none")
        await look(daemon, CARD)
        await serving(daemon, source)
        assert on(outside, source) == ["GPU-1"]


async def test_no_source_is_placed_before_the_first_reading() -> None:
    outside, looked = Outside(), asyncio.Event()
    source = gpu_source(outside)
    async with running(outside, host=Host(4), sources=POLICY, looked=looked) as daemon:
        await settle()
        row = daemon.ports.book.get(source)
        assert row is not None
        assert row.state is SourceState.WANTED
        daemon.scheduler.observe(Host(4, (CARD,)))
        looked.set()
        await serving(daemon, source)
