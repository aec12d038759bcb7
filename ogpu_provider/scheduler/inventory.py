"""The host as it is now: task slots, and the GPUs that the vendors' readers find."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from ogpu_provider.domain.resources import Host
from ogpu_provider.domain.verdict import Reason
from ogpu_provider.scheduler import amd, nvml
from ogpu_provider.scheduler.reading import Reading

Reader = Callable[[], Reading]
"""Blocking, called in a thread, raises nothing: what it cannot use it explains."""


def local_readers(sys_root: Path = Path("/sys"), dev_root: Path = Path("/dev")) -> tuple[Reader, ...]:
    """NVIDIA through NVML, AMD through sysfs."""
    return (nvml.read, partial(amd.read, sys_root, dev_root))


class Inventory:
    """Readings of the host. Nothing is remembered from one to the next, so GPUs may come and go."""

    def __init__(self, cpu_slots: int, readers: Sequence[Reader]) -> None:
        """Before the first `refresh` the host has `cpu_slots` task slots and no GPU. Raises ValueError below 1 slot."""
        if cpu_slots < 1:
            raise ValueError(f"a host needs at least one task slot, not {cpu_slots}")
        self._readers = tuple(readers)
        self._host = Host(cpu_slots)
        self._problems: tuple[Reason, ...] = ()

    @property
    def host(self) -> Host:
        """The last reading."""
        return self._host

    @property
    def problems(self) -> tuple[Reason, ...]:
        """GPUs that are there but cannot be used, as of the last reading."""
        return self._problems

    async def refresh(self) -> Host:
        """Read everything again."""
        readings = await asyncio.gather(*(asyncio.to_thread(reader) for reader in self._readers))
        self._host = Host(self._host.cpu_slots, tuple(d for reading in readings for d in reading.devices))
        self._problems = tuple(problem for reading in readings for problem in reading.problems)
        return self._host
