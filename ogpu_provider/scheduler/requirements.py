"""What a task takes of the host, as numbers the ledger can count."""

from dataclasses import dataclass

from ogpu_provider.domain.source import Environment


@dataclass(frozen=True, slots=True)
class SlotLimits:
    """How many tasks of one source may run at once. A container queues nothing and refuses nothing, so we do.

    `cpu_per_source`: None means as many as the host has slots. `gpu_per_device`: for each device the project holds.
    """

    cpu_per_source: int | None = None
    gpu_per_device: int = 1

    def __post_init__(self) -> None:
        if self.gpu_per_device < 1 or (self.cpu_per_source is not None and self.cpu_per_source < 1):
            raise ValueError("a source needs at least one slot")


@dataclass(frozen=True, slots=True)
class Requirement:
    """`slots` of the host, provided that its source then has no more than `source_limit` of them."""

    slots: int
    source_limit: int


def of_task(environment: Environment, devices_held: int, cpu_slots: int, limits: SlotLimits) -> Requirement:
    """What one task of a source needs; every task takes one slot of the host, on a GPU too.

    A GPU source whose project asked for no device runs one at a time.
    """
    if environment is Environment.CPU:
        return Requirement(1, cpu_slots if limits.cpu_per_source is None else limits.cpu_per_source)
    return Requirement(1, max(1, devices_held) * limits.gpu_per_device)
