"""What sources take of their cards, as seen while they work: memory, energy, and who had too little."""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Protocol

import structlog

from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.errors import ProviderError
from ogpu_provider.domain.learnt import Fact
from ogpu_provider.domain.project import Occupant
from ogpu_provider.domain.resources import Device
from ogpu_provider.domain.task import Task, TaskState
from ogpu_provider.domain.units import Address
from ogpu_provider.pipeline.lessons import Lessons
from ogpu_provider.scheduler.meter import Meter
from ogpu_provider.scheduler.reading import DeviceReading
from ogpu_provider.scheduler.scheduler import HostScheduler

log = structlog.get_logger()
PACE_S = 2.0
LEAST_S = 0.5
"""Seconds between two readings while a task runs on a card; at least, when one begins."""
OUT_OF_MEMORY = "engine.device_memory"


class Containers(Protocol):
    """The runtime's part about what containers do with devices."""

    async def occupants(self, pids: Collection[int]) -> Mapping[int, Occupant]: ...

    async def listen(self, source: Address, since: float) -> None: ...


class Metering:
    """A peak becomes a lesson once a task of the source was done during which memory was read: what is there before the
    first task is not what the source needs.
    """

    def __init__(self, clock: Clock, containers: Containers, lessons: Lessons, scheduler: HostScheduler) -> None:
        self._clock = clock
        self._containers = containers
        self._lessons = lessons
        self._scheduler = scheduler
        self._meter = Meter()
        self._running: dict[Address, Task] = {}
        self._ended: dict[Address, Task] = {}
        self._watched: set[Address] = set()
        self._tried: set[Address] = set()
        self._peaks: dict[Address, dict[tuple[str, str], int]] = {}
        self._begun = asyncio.Event()
        self._heard = clock.now()

    async def run(self) -> None:
        """Listen to containers that work on a card: one whose memory did not suffice gives it back. A service."""
        while True:
            await self._clock.sleep(PACE_S)
            await self._listen()

    async def pause(self, usual: float) -> None:
        """Until the next reading is due: sooner while a task runs on a card, and when one begins."""
        least = min(usual, LEAST_S)
        await self._clock.sleep(least)
        if self._running or self._ended:
            await self._clock.sleep(max(0.0, min(usual, PACE_S) - least))
            return
        self._begun.clear()
        waits = [asyncio.ensure_future(self._clock.sleep(usual - least)), asyncio.ensure_future(self._begun.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def resume(self, tasks: Iterable[Task]) -> None:
        """After a start: tasks that are in containers already. What they drew before is not known."""
        self._running |= {task.address: task for task in tasks if task.state is TaskState.EXECUTING}
        self._running = {address: task for address, task in self._running.items() if self._devices(task.source)}

    def moved(self, task: Task, before: TaskState) -> None:
        """A task made a step."""
        if task.state is TaskState.EXECUTING:
            devices = self._devices(task.source)
            if devices:
                self._running[task.address] = task
                self._begun.set()
                self._meter.begin(task.address, frozenset(each.card for each in devices), self._clock.monotonic())
        elif task.address in self._running:
            self._end(task, done=task.state is TaskState.PRODUCED)

    def _end(self, task: Task, *, done: bool) -> None:
        del self._running[task.address]
        self._meter.end(task.address, self._clock.monotonic(), done=done)
        if done:
            self._ended[task.address] = task
            if task.address in self._watched:
                self._tried.add(task.source)
                self._learn_peaks(task.source)
        self._watched.discard(task.address)

    def out_of_memory(self, source: Address, code: str) -> None:
        """A source did not get by with what was left of its device: from now on it has one alone."""
        for device in self._devices(source) if code == OUT_OF_MEMORY else ():
            for image in self._scheduler.images(source):
                self._lessons.peak(image, device.name, device.memory_total)
        self._peaks.pop(source, None)
        self._tried.discard(source)

    async def look(self, found: Sequence[DeviceReading]) -> None:
        """One reading of the devices. Never raises."""
        energies = {each.device.card: each.gauges.energy for each in found if each.gauges.energy is not None}
        for address, joules in self._meter.read(self._clock.monotonic(), energies).items():
            task = self._ended[address]
            self._lessons.learn(Fact.ENERGY, joules, task.source, task.function)
        self._ended.clear()
        try:
            await self._look_at_memory(found)
        except ProviderError as error:
            log.warning("device_memory_unread", code=error.code, error=str(error))

    async def _listen(self) -> None:
        now = self._clock.now()
        try:
            for source in sorted({task.source for task in self._running.values()}):
                await self._containers.listen(source, self._heard)
        except ProviderError as error:
            log.warning("containers_unheard", code=error.code, error=str(error))
        else:
            self._heard = now

    async def _look_at_memory(self, found: Sequence[DeviceReading]) -> None:
        """The most that one container of each image has taken of a device at once."""
        running = dict(self._running)
        held = [(each.device, process) for each in found for process in each.processes if process.memory]
        users = await self._containers.occupants({process.pid for _, process in held}) if running and held else {}
        taken: dict[tuple[Device, Occupant], int] = {}
        for device, process in held:
            if process.pid in users:
                key = (device, users[process.pid])
                taken[key] = taken.get(key, 0) + (process.memory or 0)
        for (device, user), memory in taken.items():
            peaks = self._peaks.setdefault(user.source, {})
            peaks[user.image, device.name] = max(memory, peaks.get((user.image, device.name), 0))
        seen = {user.source for _, user in taken}
        self._watched |= {address for address, task in running.items() if task.source in seen}
        for source in seen & self._tried:
            self._learn_peaks(source)

    def _learn_peaks(self, source: Address) -> None:
        for (image, card), memory in self._peaks.get(source, {}).items():
            self._lessons.peak(image, card, memory)

    def _devices(self, source: Address) -> list[Device]:
        lease = self._scheduler.lease(source)
        return [device for device in self._scheduler.host.devices if lease and device.id in lease.devices]
