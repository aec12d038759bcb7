"""Cards of AMD that come, go, hang and crash, seen through the process that the daemon asks."""

import os
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ogpu_provider.scheduler.probe import PAUSE_MAX_S, Probe
from tests.fakes.clock import FakeClock
from tests.gpu.machine import AmdTree

GIB = 1 << 30
FIRST, SECOND = "0000:03:00.0", "0000:83:00.0"
VRAM = {"mem_info_vram_total": str(24 * GIB), "mem_info_vram_used": str(GIB)}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def probe(amd_tree: AmdTree, clock: FakeClock) -> AsyncIterator[Probe]:
    made = Probe("amd", clock, deadline=60.0, sys_root=amd_tree.sys, dev_root=amd_tree.dev, proc_root=amd_tree.proc)
    yield made
    await made.aclose()


async def ids(probe: Probe) -> list[str]:
    return [device.id for device in (await probe.read()).devices]


@pytest.fixture
def card(amd_tree: AmdTree) -> Path:
    return amd_tree.add(0, FIRST, render=128, **VRAM)


async def test_a_card_that_comes_later_and_one_that_vanishes(amd_tree: AmdTree, probe: Probe) -> None:
    assert await ids(probe) == []
    device = amd_tree.add(0, FIRST, render=128, **VRAM)
    assert await ids(probe) == [FIRST]
    amd_tree.add(1, SECOND, render=129, **VRAM)
    assert await ids(probe) == [FIRST, SECOND]
    shutil.rmtree(device)
    assert await ids(probe) == [SECOND]
    assert probe.starts == 1


async def test_a_card_that_stops_telling_its_memory_is_left_out_with_its_reason(probe: Probe, card: Path) -> None:
    assert await ids(probe) == [FIRST]
    (card / "mem_info_vram_total").unlink()
    reading = await probe.read()
    assert (reading.devices, [problem.code for problem in reading.problems]) == ((), ["gpu.unreadable"])


async def test_a_file_that_is_never_answered_is_given_up_and_the_card_stays_known(
    amd_tree: AmdTree, probe: Probe, card: Path, clock: FakeClock
) -> None:
    assert await ids(probe) == [FIRST]
    amd_tree.stall(card / "gpu_busy_percent")
    probe._deadline = 0.5
    reading = await probe.read()
    probe._deadline = 60.0
    assert [problem.code for problem in reading.problems] == ["gpu.driver_hangs"]
    assert [device.withheld[0].code for device in reading.devices] == ["gpu.driver_hangs"]
    (card / "gpu_busy_percent").unlink()
    (card / "gpu_busy_percent").write_text("12\n")
    await clock.leap(PAUSE_MAX_S)
    (found,) = (await probe.read()).found
    assert (found.device.withheld, found.gauges.utilisation) == ((), 12)
    assert probe.starts == 2


async def test_a_crash_in_the_middle_of_a_reading_is_survived(
    amd_tree: AmdTree, probe: Probe, card: Path, clock: FakeClock
) -> None:
    import asyncio

    await probe.read()
    amd_tree.stall(card / "gpu_busy_percent")
    reading = asyncio.create_task(probe.read())
    while probe._process is None:
        await asyncio.sleep(0.01)
    os.kill(probe._process.pid, signal.SIGSEGV)
    assert [problem.code for problem in (await reading).problems] == ["gpu.driver_crashed"]
    (card / "gpu_busy_percent").unlink()
    await clock.leap(PAUSE_MAX_S)
    assert [device.withheld for device in (await probe.read()).devices] == [()]
