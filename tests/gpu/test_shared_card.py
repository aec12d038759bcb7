"""Two sources on one card: the true binding on a fake driver, real containers, and the keeper, conductor and metering.

The engine has no driver for GPUs, so a container is made without the card that its source was granted; which process
takes how much of it is what the fake driver says.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from ogpu_provider.domain.learnt import Fact, Knowledge
from ogpu_provider.domain.project import ProjectSpec
from ogpu_provider.domain.resources import source_holder
from ogpu_provider.domain.source import Environment, SourceState
from ogpu_provider.domain.task import TaskState
from ogpu_provider.domain.units import Address
from ogpu_provider.metering import PACE_S, Metering
from ogpu_provider.pipeline.lessons import Lessons
from ogpu_provider.runtime.projects import Projects
from ogpu_provider.scheduler.inventory import Inventory
from ogpu_provider.scheduler.probe import Probe
from ogpu_provider.scheduler.sharing import Sharing
from tests.fakes.clock import FakeClock
from tests.gpu.machine import Machine
from tests.runtime_host import Host, host, image, imported, pushed
from tests.unit.pipeline.stage import COMPOSE, METADATA, Daemon, Outside, running
from tests.waiting import until

__all__ = ["host", "image", "imported", "pushed"]
pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]
GIB = 1 << 30
CARD = f"gpu|GPU-1|NVIDIA RTX 4090|{24 * GIB}|0|ok|off"
S = TaskState


class Cardless:
    """The true runtime, on an engine that has no cards to give."""

    def __init__(self, projects: Projects, digest: str) -> None:
        self._projects = projects
        self._digest = digest
        self.deliver = None
        self.adopted: set[Address] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._projects, name)

    async def device_need(self, *_: object) -> int:
        return 1

    async def device_images(self, *_: object) -> tuple[str, ...]:
        return (self._digest,)

    async def up(self, spec: ProjectSpec) -> None:
        await self._projects.up(replace(spec, environment=Environment.CPU, devices=()))


@dataclass
class Bench:
    outside: Outside
    daemon: Daemon
    host: Host
    machine: Machine
    inventory: Inventory
    metering: Metering
    knowledge: Knowledge
    sources: tuple[Address, Address]

    async def pid(self, source: Address) -> int:
        [container] = await self.host.engine.containers({"ogpu.source": source})
        return int(container.raw["State"]["Pid"])

    async def look(self, *processes: tuple[int, int]) -> None:
        """A reading of the card with these processes and what they take of it."""
        self.machine.script(CARD, *(f"proc|{pid}|{memory}" for pid, memory in processes))
        self.daemon.scheduler.observe(await self.inventory.refresh())
        await self.metering.look(self.inventory.found)

    def row(self, source: Address) -> tuple[SourceState, str]:
        found = self.daemon.ports.book.get(source)
        assert found is not None
        return found.state, found.code

    async def is_(self, source: Address, state: SourceState, code: str = "") -> None:
        async def there() -> bool:
            return self.row(source) == (state, code)

        await until(there, 120, f"{state} {code} instead of {self.row(source)}")

    async def runs(self, source: Address, function: str) -> Address:
        """A task that its container has taken."""
        self.outside.config(function, {})
        task = await self.daemon.publish(source)
        await self.daemon.mine()

        async def taken() -> bool:
            row = await self.daemon.task(task)
            assert not row.state.over, (row.code, row.reason)
            return row.state is S.EXECUTING and row.accepted_at > 0

        await until(taken, 60, "the container's 202")
        return task

    async def freed(self, source: Address) -> bool:
        """Whether its containers and its lease are gone, after as much real time as an engine under load may take."""
        for _ in range(200):
            if self.daemon.scheduler.lease(source) is None and await self.containers(source) == 0:
                return True
            await asyncio.sleep(0.1)
        return False

    async def containers(self, source: Address) -> int:
        return len(await self.host.engine.containers({"ogpu.source": source}))


@asynccontextmanager
async def bench(host: Host, image: str, machine: Machine) -> AsyncIterator[Bench]:
    machine.script(CARD)
    clock, knowledge = FakeClock(time.time() - 3600), Knowledge()
    probe = Probe("nvidia", clock, environment=machine.environment)
    inventory = Inventory(4, [probe.read])
    outside = Outside(clock=clock)
    outside.runtime = Cardless(host.projects(), image.rpartition("@")[2])  # type: ignore[assignment]
    outside.content.documents[METADATA] = json.dumps({"nvidia": COMPOSE, "name": "gpu"}).encode()
    text = f'services:\n  app:\n    image: "{image}"\n    ports: ["${{PORT}}:5555"]\n'
    outside.content.documents[COMPOSE] = text.encode()
    nvidia = frozenset({Environment.NVIDIA})
    sources = tuple(outside.chain.publish_source(environments=nvidia, metadata_url=METADATA).source for _ in range(2))
    for source in sources:
        outside.chain.register(source, environment=Environment.NVIDIA)
    read = await inventory.refresh()
    async with running(outside, slots=4, host=read, sharing=Sharing(knowledge)) as daemon:
        metering = Metering(clock, outside.runtime, Lessons(outside.journal, clock, knowledge), daemon.scheduler)  # type: ignore[arg-type]
        daemon.conductor._observe = metering.moved
        daemon.keeper._placing._out_of_memory = metering.out_of_memory
        services = [asyncio.ensure_future(metering.run()), asyncio.ensure_future(_hear(daemon, host))]
        yield Bench(outside, daemon, host, machine, inventory, metering, knowledge, (sources[0], sources[1]))
        for service in services:
            service.cancel()
    await probe.aclose()


async def _hear(daemon: Daemon, host: Host) -> None:
    """What the daemon does when the runtime says that a project has changed."""
    while True:
        while host.changes:
            source = host.changes.pop()
            daemon.keeper.changed(source)
            daemon.conductor.nudge_source(source)
        await asyncio.sleep(0.05)


async def test_learnt_peaks_share_a_card_and_one_that_runs_out_of_memory_leaves_it_alone(
    host: Host, image: str, machine: Machine
) -> None:
    async with bench(host, image, machine) as b:
        await until(lambda: _one_ready(b), 120, "one source on the card")
        first, second = sorted(b.sources, key=lambda source: b.row(source)[0] is not SourceState.READY)
        await b.is_(second, SourceState.UNFIT, "capacity.devices")

        task = await b.runs(first, "hold")
        await b.look((await b.pid(first), 10 * GIB), (1, 3 * GIB))
        await b.daemon.results.accept(first, task, b"{}")
        await until(lambda: _learnt(b, image), 60, "a lesson")
        assert b.knowledge.highest(Fact.PEAK_MEMORY, image.rpartition("@")[2], "NVIDIA RTX 4090") == 10 * GIB

        await b.outside.clock.advance(20)
        await b.is_(second, SourceState.READY)
        leases = {lease.holder: lease.memory for lease in b.daemon.scheduler.snapshot().leases if lease.devices}
        assert leases == {source_holder(first): 10 * GIB, source_holder(second): 10 * GIB}

        well = await b.runs(second, "hold")
        await b.runs(first, "hog")
        await b.look((await b.pid(first), 12 * GIB), (await b.pid(second), 10 * GIB))
        began = b.outside.clock.now()
        for _ in range(5):
            await b.outside.clock.advance(PACE_S)
            if await b.freed(first):
                break
        assert b.outside.clock.now() - began <= 10
        assert await b.containers(first) == 0
        assert b.daemon.scheduler.lease(first) is None
        assert b.row(first)[0] is SourceState.UNFIT
        assert await b.containers(second) == 1
        assert b.row(second) == (SourceState.READY, "")
        await b.daemon.results.accept(second, well, b"{}")

        async def submitted() -> bool:
            return (await b.daemon.task(well)).state in (S.SUBMITTED, S.RESPONDED, S.SETTLED)

        await until(submitted, 60, "the other's result")


async def _one_ready(b: Bench) -> bool:
    return SourceState.READY in [b.row(source)[0] for source in b.sources]


async def _learnt(b: Bench, image: str) -> bool:
    return b.knowledge.get(Fact.PEAK_MEMORY, image.rpartition("@")[2], "NVIDIA RTX 4090") is not None
