"""What a look at the host costs: `scripts/bench inventory`. 16 cards in the fake driver, 200 sources with containers.

The true probe process with the true binding on a fake library that answers at once, so a real driver's own time comes
on top; the daemon's look with everything that follows from it (health, strangers, leases against what runs), the engine
in memory. CPU time is that of both processes by getrusage, start not counted: a run of one look is subtracted.
"""

import argparse
import asyncio
import json
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Set
from pathlib import Path

from ogpu_provider import telemetry
from ogpu_provider.domain.clock import SystemClock
from ogpu_provider.domain.project import ProjectSpec
from ogpu_provider.domain.resources import Device, Host
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.units import Address
from ogpu_provider.hardware import Hardware
from ogpu_provider.scheduler.probe import Probe
from ogpu_provider.scheduler.rules import AdmissionPolicy
from ogpu_provider.scheduler.scheduler import HostScheduler
from ogpu_provider.settings import Settings
from ogpu_provider.store.memory import MemoryStore
from tests.fakes.runtime import FakeRuntime
from tests.gpu.machine import Machine, build
from tests.gpu.test_nvml_binding import INSTRUMENTS

GIB = 1 << 30
HELD = 8
"""Cards that sources hold; the other sources run on the CPU."""


WELL = {"pcie_width": 16, "ecc_uncorrected": 0}


class Nobody:
    def changed(self, address: Address) -> None: ...

    def devices_changed(self, usable: Set[str]) -> None: ...


def script(cards: int) -> list[str]:
    """Every instrument, and on each card a program of ours and a desktop."""
    lines = []
    for n in range(cards):
        lines.append(f"gpu|GPU-{n:04d}|NVIDIA RTX 4090|{24 * GIB}|{4 * GIB}|ok|off")
        lines += [f"gauge|{name}|{value}" for name, value in (INSTRUMENTS | WELL).items()]
        lines += [f"proc|{100_000 + n}|{3 * GIB}", f"draw|{200_000 + n}|{GIB // 4}"]
    return lines


async def looks(environment: dict[str, str], number: int, sources: int) -> list[float]:
    """Seconds of each look."""
    settings, clock, runtime = Settings(), SystemClock(), FakeRuntime(pids=set(range(100_000, 100_100)))
    probe = Probe("nvidia", clock, environment=environment)
    hardware = Hardware(settings, clock, MemoryStore(), runtime, None, probes=[probe])
    scheduler = HostScheduler(Host(64), AdmissionPolicy())
    hardware.join(scheduler, list, Nobody())
    await hardware.restore()
    await hardware.look()
    for n in range(sources):
        source, environment_of = Address(f"0x{n:040x}"), Environment.NVIDIA if n < HELD else Environment.CPU
        devices: tuple[Device, ...] = scheduler.grant_devices(source, environment_of, 1 if n < HELD else 0) or ()
        runtime.running[source] = ProjectSpec(source, environment_of, b"", devices)
    took = []
    for _ in range(number):
        began = time.perf_counter()
        await hardware.look()
        took.append(time.perf_counter() - began)
    assert len(scheduler.snapshot().leases) == sources
    await hardware.aclose()
    return took


def cpu() -> float:
    """Seconds of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def measure(folder: Path, cards: int, sources: int, number: int) -> dict[str, object]:
    machine = Machine(folder, build(folder))
    machine.install_library()
    machine.script(*script(cards))
    spent = []
    for each in (1, number):
        before = cpu()
        took = asyncio.run(looks(machine.environment, each, sources))
        spent.append(cpu() - before)
    machine.close()
    a_look = (spent[1] - spent[0]) / (number - 1)
    every = Settings().devices.look_every
    return {
        "cards": cards,
        "sources": sources,
        "looks": number,
        "look_ms": {
            "p50": round(1000 * statistics.median(took), 2),
            "p99": round(1000 * sorted(took)[int(0.99 * len(took))], 2),
            "max": round(1000 * max(took), 2),
        },
        "cpu_ms_per_look": round(1000 * a_look, 2),
        "cpu_percent_of_a_core": round(100 * a_look / every, 3),
        "look_every_s": every,
        "load": round(os.getloadavg()[0], 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--cards", type=int, default=16)
    parser.add_argument("--sources", type=int, default=200)
    parser.add_argument("--looks", type=int, default=300)
    args = parser.parse_args()
    telemetry.configure(level="error")
    with tempfile.TemporaryDirectory(prefix="inventory-") as folder:
        figures = measure(Path(folder), args.cards, args.sources, args.looks)
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
