"""The host's devices as the daemon keeps them: read, judged, tested, and held against the leases."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence, Set
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Protocol, TypeVar

import structlog

from ogpu_provider import policies
from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.errors import EngineError, ProviderError, Retry
from ogpu_provider.domain.resources import Lease
from ogpu_provider.domain.units import Address
from ogpu_provider.metering import Metering
from ogpu_provider.pipeline.journal import Journal
from ogpu_provider.pipeline.ports import Runtime
from ogpu_provider.runtime.engine import Engine
from ogpu_provider.scheduler.confines import confines
from ogpu_provider.scheduler.inventory import Inventory, Machine, local_probes
from ogpu_provider.scheduler.probe import Probe
from ogpu_provider.scheduler.scheduler import HostScheduler
from ogpu_provider.scheduler.stocktaking import Stocktaking
from ogpu_provider.scheduler.strangers import Strangers, process_name
from ogpu_provider.scheduler.ward import Ward
from ogpu_provider.settings import Settings

T = TypeVar("T")
log = structlog.get_logger()
ENGINE_S = 10.0
MEASURE_S = 600.0
"""Seconds between two questions to the engine for its processors and memory."""


class Keeper(Protocol):
    """The source keeper's part about devices."""

    def changed(self, address: Address) -> None: ...

    def devices_changed(self, usable: Set[str]) -> None: ...


class Hardware:
    """`changed` is called after each cordon that was set or lifted. `looked` is set when the host was read once.

    `join` before `run`.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        journal: Journal,
        runtime: Runtime,
        engine: Engine | None,
        changed: Callable[[], None] = lambda: None,
        probes: Sequence[Probe] | None = None,
    ) -> None:
        """`engine`: None where sources run without one. `probes`: those of this host, if none are given."""
        self._settings = settings
        self._clock = clock
        self._runtime = runtime
        self._engine = engine
        self._measure_at = 0.0
        self._probes = tuple(local_probes(clock) if probes is None else probes)
        self.looked = asyncio.Event()
        self.ward = Ward(journal, policies.health_policy(settings), clock, runtime.test, changed)
        strangers = Strangers(policies.stranger_policy(settings), self._own, process_name)
        readers = [probe.read for probe in self._probes]
        slots = policies.cpu_slots(settings)
        self.inventory = Inventory(slots, readers, (self.ward, strangers), self._measure)

    def join(
        self,
        scheduler: HostScheduler,
        leases: Callable[[], Iterable[Lease]],
        keeper: Keeper,
        metering: Metering | None = None,
    ) -> None:
        """`leases`: what live tasks hold by the journal."""
        self._scheduler, self._task_leases, self._keeper, self._metering = scheduler, leases, keeper, metering
        self._stock = Stocktaking(scheduler, self._clock)

    async def restore(self) -> None:
        """Cordons of earlier runs. Raises StoreError."""
        await self.ward.restore()

    async def run(self, piece: Callable[[], AbstractContextManager[None]] = nullcontext) -> None:
        """Look again and again. A service; `piece` surrounds each look."""
        while True:
            with piece():
                await self.look()
            self.looked.set()
            usual = self._settings.devices.look_every
            await (self._metering.pause(usual) if self._metering else self._clock.sleep(usual))

    async def look(self) -> None:
        """One reading, and what follows from it: for the scheduler, for leases, and for sources that may move."""
        before = {device.id for device in self._scheduler.host.devices if not device.withheld}
        host = await self.inventory.refresh()
        self._scheduler.observe(host)
        if usable := {device.id for device in host.devices if not device.withheld} - before:
            self._keeper.devices_changed(usable)
        if self._metering is not None:
            await self._metering.look(self.inventory.found)
        await self._take_stock()
        for source in self._scheduler.movable():
            self._keeper.changed(source)

    async def _take_stock(self) -> None:
        try:
            occupancy = await _patiently(self._runtime.occupancy())
        except ProviderError as error:
            log.warning("stock_not_taken", code=error.code, error=str(error))
            return
        for correction in self._stock.check(occupancy, self._task_leases()):
            if correction.source is not None:
                self._keeper.changed(correction.source)

    async def _own(self, pids: Collection[int]) -> Collection[int]:
        return await _patiently(self._runtime.own(pids))

    async def aclose(self) -> None:
        for probe in self._probes:
            await probe.aclose()

    async def _measure(self) -> Machine | None:
        """Now and then; the engine's word where it gives one, this host's otherwise."""
        if self._clock.monotonic() < self._measure_at:
            return None
        self._measure_at = self._clock.monotonic() + MEASURE_S
        try:
            cpus, memory = await _patiently(machine_of(self._engine))
        except ProviderError as error:
            log.warning("engine_not_measured", code=error.code, error=str(error))
            self._measure_at = 0.0
            return None
        return Machine(cpus, memory, policies.cpu_slots(self._settings, cpus))


async def machine_of(engine: Engine | None, cgroup: Path = Path("/sys/fs/cgroup")) -> tuple[float, int]:
    """Processors and bytes of memory that containers can have. An engine in the container that we are in has that
    container's limits, though it names those of the host. Raises EngineError.
    """
    cpus, memory, beside = float(os.cpu_count() or 1), _memory(), True
    if engine is not None:
        info = await engine.info()
        cpus, memory, beside = float(info.cpus), info.memory, info.name in ("", socket.gethostname())
    limits = confines(cgroup) if beside else None
    if limits is not None and limits.cpus is not None:
        cpus = min(cpus, limits.cpus)
    if limits is not None and limits.memory is not None:
        memory = min(memory, limits.memory)
    return cpus, memory


async def _patiently(asked: Awaitable[T]) -> T:
    """An engine that hangs costs a little of a look. Raises EngineError."""
    try:
        async with asyncio.timeout(ENGINE_S):
            return await asked
    except TimeoutError:
        raise EngineError(f"no answer within {ENGINE_S:g} s", code="engine.unreachable", retry=Retry.LATER) from None


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
