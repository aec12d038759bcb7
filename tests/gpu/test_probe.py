"""A driver that hangs or crashes for real, and the process that asks it: nothing else notices."""

import asyncio
import os
from collections.abc import AsyncIterator

import pytest

from ogpu_provider.scheduler.probe import PAUSE_MAX_S, Probe
from tests.fakes.clock import FakeClock
from tests.gpu.machine import Machine

GIB = 1 << 30
CARD = f"gpu|GPU-1|NVIDIA RTX 4090|{24 * GIB}|0|ok|off"
OTHER = f"gpu|GPU-2|NVIDIA RTX 3060|{12 * GIB}|0|ok|off"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def probe(machine: Machine, clock: FakeClock) -> AsyncIterator[Probe]:
    made = Probe("nvidia", clock, deadline=5.0, environment=machine.environment)
    yield made
    await made.aclose()


async def silent(probe: Probe) -> list[str]:
    """A reading of a driver that does not answer; the deadline is short once the process is known to run."""
    probe._deadline = 0.5
    reading = await probe.read()
    probe._deadline = 5.0
    return [problem.code for problem in reading.problems]


@pytest.mark.parametrize("how", ["driver|hang", CARD.replace("|ok|", "|hanging|")])
async def test_a_hang_stops_nothing_else_and_is_over_when_the_driver_answers(
    machine: Machine, probe: Probe, clock: FakeClock, how: str
) -> None:
    machine.script(CARD)
    assert [device.withheld for device in (await probe.read()).devices] == [()]
    machine.script(how)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0.01)

    rest = asyncio.create_task(others())
    assert await silent(probe) == ["gpu.driver_hangs"]
    rest.cancel()
    assert turns >= 20  # of 50: the loop went on all the while
    reading = await probe.read()  # no process was started in the pause, the answer is there at once
    assert probe.starts == 1
    assert [(device.id, device.withheld[0].code) for device in reading.devices] == [("GPU-1", "gpu.driver_hangs")]
    machine.script(CARD, OTHER)
    await clock.leap(PAUSE_MAX_S)
    reading = await probe.read()
    assert [(device.id, device.withheld) for device in reading.devices] == [("GPU-1", ()), ("GPU-2", ())]
    assert reading.problems == ()


@pytest.mark.parametrize("how", ["driver|crash", CARD.replace("|ok|", "|crashing|")])
async def test_a_crash_is_survived_and_the_process_is_started_anew(
    machine: Machine, probe: Probe, clock: FakeClock, how: str
) -> None:
    machine.script(CARD)
    await probe.read()
    machine.script(how)
    reading = await probe.read()
    assert [problem.code for problem in reading.problems] == ["gpu.driver_crashed"]
    assert [device.withheld[0].code for device in reading.devices] == ["gpu.driver_crashed"]
    machine.script(CARD)
    await clock.leap(PAUSE_MAX_S)
    assert (await probe.read()).devices[0].withheld == ()
    assert probe.starts == 2


async def test_the_pause_between_two_starts_grows_and_no_gpu_is_never_for_ever(
    machine: Machine, probe: Probe, clock: FakeClock
) -> None:
    machine.script("driver|crash")
    waits = []
    for started in range(1, 5):
        assert [problem.code for problem in (await probe.read()).problems] == ["gpu.driver_crashed"]
        assert probe.starts == started
        waited = 0.0
        while clock.monotonic() < probe._not_before:
            await clock.leap(1.0)
            waited += 1.0
        waits.append(waited)
    assert waits == [1.0, 2.0, 4.0, 8.0]
    machine.script(CARD)
    assert [device.id for device in (await probe.read()).devices] == ["GPU-1"]
    machine.script("driver|crash")
    await probe.read()
    assert probe._not_before - clock.monotonic() == 1.0  # an answer in between makes it short again


async def test_nothing_is_left_running(machine: Machine, probe: Probe) -> None:
    machine.script(CARD)
    await probe.read()
    process = probe._process
    assert process is not None
    machine.script("driver|hang")
    await silent(probe)
    async with asyncio.timeout(60):
        await process.wait()
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


async def test_a_reading_without_end_is_a_driver_that_gave_no_answer(machine: Machine, clock: FakeClock) -> None:
    machine.script(CARD)
    probe = Probe("nvidia", clock, environment=machine.environment, longest=16)
    try:
        assert [problem.code for problem in (await probe.read()).problems] == ["gpu.driver_crashed"]
    finally:
        await probe.aclose()
