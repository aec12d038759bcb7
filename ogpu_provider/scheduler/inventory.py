"""The host as it is now: task slots, and the GPUs that the vendors' readers find."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from ogpu_provider.domain.clock import Clock, SystemClock
from ogpu_provider.domain.resources import Host
from ogpu_provider.domain.verdict import Reason
from ogpu_provider.scheduler.probe import DEADLINE_S, Probe
from ogpu_provider.scheduler.reading import DeviceReading, Reading

Reader = Callable[[], Awaitable[Reading]]
"""Raises nothing, and answers in time: what it cannot use it explains."""


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
    """Readings of the host. Nothing is remembered from one to the next, so GPUs may come and go."""

    def __init__(self, cpu_slots: int, readers: Sequence[Reader]) -> None:
        """Before the first `refresh` the host has `cpu_slots` task slots and no GPU. Raises ValueError below 1 slot."""
        if cpu_slots < 1:
            raise ValueError(f"a host needs at least one task slot, not {cpu_slots}")
        self._readers = tuple(readers)
        self._host = Host(cpu_slots)
        self._problems: tuple[Reason, ...] = ()
        self._found: tuple[DeviceReading, ...] = ()

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
        self._host = Host(self._host.cpu_slots, tuple(each.device for each in self._found))
        return self._host
