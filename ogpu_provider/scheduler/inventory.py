"""The host as it is now: processors, memory, task slots, and the GPUs that the vendors' readers find."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from ogpu_provider.domain.clock import Clock, SystemClock
from ogpu_provider.domain.resources import Device, Host
from ogpu_provider.domain.verdict import Reason
from ogpu_provider.scheduler.probe import DEADLINE_S, Probe
from ogpu_provider.scheduler.reading import DeviceReading, Reading

Reader = Callable[[], Awaitable[Reading]]
"""Raises nothing, and answers in time: what it cannot use it explains."""


class Gate(Protocol):
    """Something that may speak against a device that is there."""

    async def look(
        self, found: Sequence[DeviceReading], problems: Sequence[Reason]
    ) -> Mapping[str, tuple[Reason, ...]]:
        """Why devices of this reading are to be withheld, by their id."""
        ...


@dataclass(frozen=True, slots=True)
class Machine:
    """What containers can have of the host: processors, bytes of main memory, and so many tasks at once."""

    cpus: float
    memory: int
    slots: int


Measure = Callable[[], Awaitable[Machine | None]]
"""None: as it was."""


def local_probes(
    clock: Clock, sys_root: Path = Path("/sys"), dev_root: Path = Path("/dev"), *, deadline: float = DEADLINE_S
) -> tuple[Probe, ...]:
    """NVIDIA through NVML, AMD through sysfs, each in a process of its own."""
    return tuple(
        Probe(vendor, clock, deadline=deadline, sys_root=sys_root, dev_root=dev_root) for vendor in ("nvidia", "amd")
    )


async def look(cpu_slots: int) -> Host:
    """This host, looked at once."""
    probes = local_probes(SystemClock())
    try:
        return await Inventory(cpu_slots, [probe.read for probe in probes]).refresh()
    finally:
        for probe in probes:
            await probe.aclose()


class Inventory:
    """Readings of the host, `looks` of them so far. Nothing is remembered from one to the next: GPUs come and go."""

    def __init__(
        self, cpu_slots: int, readers: Sequence[Reader], gates: Sequence[Gate] = (), measure: Measure | None = None
    ) -> None:
        """Before the first `refresh` the host has `cpu_slots` task slots and no GPU. Raises ValueError below 1 slot."""
        if cpu_slots < 1:
            raise ValueError(f"a host needs at least one task slot, not {cpu_slots}")
        self._readers = tuple(readers)
        self._gates = tuple(gates)
        self._measure = measure
        self._host = Host(cpu_slots)
        self._problems: tuple[Reason, ...] = ()
        self._found: tuple[DeviceReading, ...] = ()
        self.looks = 0

    @property
    def host(self) -> Host:
        """The last reading."""
        return self._host

    @property
    def found(self) -> tuple[DeviceReading, ...]:
        """The devices of the last reading with their instruments."""
        return self._found

    @property
    def problems(self) -> tuple[Reason, ...]:
        """GPUs that are there but cannot be used, as of the last reading."""
        return self._problems

    async def refresh(self) -> Host:
        """Read everything again."""
        readings = await asyncio.gather(*(reader() for reader in self._readers))
        self._found = tuple(each for reading in readings for each in reading.found)
        self._problems = tuple(problem for reading in readings for problem in reading.problems)
        against = [await gate.look(self._found, self._problems) for gate in self._gates]
        devices = tuple(_withheld(each.device, against) for each in self._found)
        machine = await self._measure() if self._measure else None
        if machine is not None:
            self._host = Host(machine.slots, devices, machine.cpus, machine.memory)
        else:
            self._host = replace(self._host, devices=devices)
        self.looks += 1
        return self._host


def _withheld(device: Device, against: Sequence[Mapping[str, tuple[Reason, ...]]]) -> Device:
    reasons = [reason for told in against for reason in told.get(device.id, ())]
    return replace(device, withheld=(*device.withheld, *reasons)) if reasons else device
