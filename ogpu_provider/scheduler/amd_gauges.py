"""The instruments of an AMD card, from the files of its device directory (kernel documentation: gpu/amdgpu).

Each may be missing: what a card does not tell stays None. Counts of memory errors come from the files of RAS, which
only cards with error correction have; a page that is marked F could not be taken out of use.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from ogpu_provider.scheduler.reading import Gauges
from ogpu_provider.scheduler.sysfs import entries, number, text

_HWMON = re.compile(r"hwmon\d+")
_COUNTS = re.compile(r"[a-z0-9_]+_err_count")
_LEVEL = re.compile(r"^\s*\d+:\s*(\d+)\s*[Mm][Hh]z\s*(\*?)", re.MULTILINE)
_GENERATIONS = {"2.5": 1, "5.0": 2, "8.0": 3, "16.0": 4, "32.0": 5, "64.0": 6}
"""PCIe generation by the speed of a lane in GT/s."""


def gauges(device: Path) -> Gauges:
    """Of the card with this device directory. Never raises OSError."""
    hwmon = next(iter(entries(device / "hwmon", _HWMON)), device / "hwmon")
    clock, clock_max = _levels(device / "pp_dpm_sclk")
    memory_clock, memory_clock_max = _levels(device / "pp_dpm_mclk")
    speed = text(device / "current_link_speed").partition(" ")[0]
    return Gauges(
        utilisation=number(device / "gpu_busy_percent"),
        memory_utilisation=number(device / "mem_busy_percent"),
        temperature=_thousandth(hwmon / "temp1_input"),
        temperature_slowdown=_thousandth(hwmon / "temp1_crit"),
        power=_millionth(hwmon / "power1_average", hwmon / "power1_input"),
        power_limit=_millionth(hwmon / "power1_cap"),
        energy=_millionth(hwmon / "energy1_input"),
        clock=clock,
        clock_max=clock_max,
        clock_memory=memory_clock,
        clock_memory_max=memory_clock_max,
        pcie_width=number(device / "current_link_width"),
        pcie_width_max=number(device / "max_link_width"),
        pcie_generation=_GENERATIONS.get(speed),
        ecc_corrected=_errors(device / "ras", "ce"),
        ecc_uncorrected=_errors(device / "ras", "ue"),
        rows_failed=_bad_pages(device / "ras" / "gpu_vram_bad_pages"),
    )


def _levels(path: Path) -> tuple[int | None, int | None]:
    """The level in use, marked with a star, and the highest, in MHz."""
    levels = _LEVEL.findall(text(path))
    used = [int(clock) for clock, star in levels if star]
    return (used[0] if used else None), max((int(clock) for clock, _ in levels), default=None)


def _errors(ras: Path, kind: str) -> int | None:
    """Lines `ue: 0` and `ce: 0` of every block of the card, together."""
    counts = [
        int(count)
        for path in entries(ras, _COUNTS)
        for count in re.findall(rf"^{kind}:\s*(\d+)\s*$", text(path), re.MULTILINE)
    ]
    return sum(counts) if counts else None


def _bad_pages(path: Path) -> bool | None:
    """Lines `0x00000001 : 0x00001000 : R`; F: it could not be reserved."""
    if not path.exists():
        return None
    return any(line.rstrip().endswith(": F") for line in text(path).splitlines())


def _thousandth(path: Path) -> float | None:
    value = number(path)
    return None if value is None else value / 1000


def _millionth(*paths: Path) -> float | None:
    """Of the first that is there."""
    values: Iterable[int | None] = map(number, paths)
    return next((value / 1_000_000 for value in values if value is not None), None)
