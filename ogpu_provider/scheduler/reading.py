"""What one vendor's interface says about the host's GPUs right now."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ogpu_provider.domain.resources import Device
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.verdict import Reason


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """A process that has memory of a card. `memory` in bytes, None where the driver does not tell.

    `graphics`: it only draws, as a desktop or a game does.
    """

    pid: int
    memory: int | None
    graphics: bool = False


@dataclass(frozen=True, slots=True)
class Gauges:
    """A card's instruments; None is what it does not tell. Those of the whole card, also for an instance of it.

    `memory_reserved`: bytes of the memory in use that the driver has for itself. Shares in percent, `temperature` in
    Celsius (`temperature_slowdown`: where the card slows itself down), power in watts, `energy` in joules since the
    driver was loaded, clocks in MHz. ECC errors count since the driver was loaded. `rows_failed`: a broken row of
    memory could not be replaced. `throttled`: why the clocks are held down.
    """

    memory_reserved: int | None = None
    utilisation: float | None = None
    memory_utilisation: float | None = None
    temperature: float | None = None
    temperature_slowdown: float | None = None
    power: float | None = None
    power_limit: float | None = None
    energy: float | None = None
    clock: int | None = None
    clock_max: int | None = None
    clock_memory: int | None = None
    clock_memory_max: int | None = None
    throttled: tuple[str, ...] = ()
    pcie_width: int | None = None
    pcie_width_max: int | None = None
    pcie_generation: int | None = None
    ecc_corrected: int | None = None
    ecc_uncorrected: int | None = None
    rows_failed: bool | None = None


@dataclass(frozen=True, slots=True)
class DeviceReading:
    """One device with its instruments. `xids`: the driver's error numbers of its card since the reading before."""

    device: Device
    gauges: Gauges = field(default_factory=Gauges)
    processes: tuple[GpuProcess, ...] = ()
    xids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """Devices that can be used, and why others that are there cannot. No library or driver is an empty reading."""

    found: tuple[DeviceReading, ...] = ()
    problems: tuple[Reason, ...] = ()
    driver: str = ""

    @property
    def devices(self) -> tuple[Device, ...]:
        return tuple(each.device for each in self.found)


def document(reading: Reading) -> dict[str, Any]:
    """For JSON."""
    return asdict(reading)


def parsed(text: Mapping[str, Any]) -> Reading:
    """From what `document` made. Raises ValueError, TypeError or KeyError for anything else."""
    return Reading(
        found=tuple(_device_reading(each) for each in text["found"]),
        problems=tuple(Reason(**each) for each in text["problems"]),
        driver=str(text["driver"]),
    )


def _device_reading(text: Mapping[str, Any]) -> DeviceReading:
    device = {
        **text["device"],
        "environment": Environment(text["device"]["environment"]),
        "nodes": tuple(text["device"]["nodes"]),
        "withheld": tuple(Reason(**each) for each in text["device"]["withheld"]),
    }
    gauges = {**text["gauges"], "throttled": tuple(text["gauges"]["throttled"])}
    processes = tuple(GpuProcess(**each) for each in text["processes"])
    return DeviceReading(Device(**device), Gauges(**gauges), processes, tuple(text["xids"]))
