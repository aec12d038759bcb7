"""What a host has, what work needs, and who holds what."""

from dataclasses import dataclass

from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.units import Address
from ogpu_provider.domain.verdict import Reason


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU or a MIG instance. `id` is what the engine is given: NVML UUID, or the PCI address for AMD.

    Memory in bytes. `nodes` are the device files of an AMD GPU (/dev/kfd, /dev/dri/renderD*). `part_of` is the id of
    the whole card where this is an instance of one. `withheld` says why it takes no new work now; a lease on it stays.
    """

    id: str
    environment: Environment
    name: str
    memory_total: int
    memory_used: int = 0
    nodes: tuple[str, ...] = ()
    part_of: str = ""
    withheld: tuple[Reason, ...] = ()

    @property
    def card(self) -> str:
        """Id of the whole card: what is healthy or not."""
        return self.part_of or self.id


@dataclass(frozen=True, slots=True)
class Host:
    """One reading of the machine. `cpu_slots` is how many tasks may run at once.

    `cpus` and `memory` (bytes): what containers can have of processors and main memory; 0 where nobody has asked.
    """

    cpu_slots: int
    devices: tuple[Device, ...] = ()
    cpus: float = 0.0
    memory: int = 0

    @property
    def environments(self) -> frozenset[Environment]:
        return frozenset({Environment.CPU, *(d.environment for d in self.devices)})


@dataclass(frozen=True, slots=True)
class MemoryReading:
    """Main memory of a host in bytes; `available` to new work without swapping."""

    total: int
    available: int


@dataclass(frozen=True, slots=True)
class Lease:
    """Granted resources. A source's lease holds devices while its project is warm; a task's lease holds slots.

    All or nothing: a lease is never partial. `devices` are device ids. `memory`: bytes of each of them; 0: all of it,
    and nobody else is on them.
    """

    holder: str
    slots: int = 0
    devices: tuple[str, ...] = ()
    source: Address | None = None
    memory: int = 0


def task_holder(task: Address) -> str:
    return f"task:{task}"


def source_holder(source: Address) -> str:
    return f"source:{source}"
