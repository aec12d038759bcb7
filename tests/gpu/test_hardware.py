"""The daemon's view of a host whose driver and cards misbehave: the real binding below it, the rest in memory.

What a look at the host leads to: for the ledger of leases, for sources that wait or may move, for cards in the journal.
"""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable, Set
from dataclasses import dataclass, field

import pytest

from ogpu_provider.choices import AdmissionRules
from ogpu_provider.domain.admission import Candidate
from ogpu_provider.domain.project import ProjectSpec
from ogpu_provider.domain.resources import Host, source_holder
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.units import Address
from ogpu_provider.hardware import Hardware
from ogpu_provider.scheduler.probe import PAUSE_MAX_S, Probe
from ogpu_provider.scheduler.rules import AdmissionPolicy
from ogpu_provider.scheduler.scheduler import HostScheduler
from ogpu_provider.settings import Settings
from ogpu_provider.store.memory import MemoryStore
from tests.crash.inmemory import Whole, audit
from tests.fakes.candidates import wanting
from tests.fakes.clock import FakeClock
from tests.fakes.runtime import FakeRuntime
from tests.gpu.machine import AmdTree, Machine
from tests.unit.pipeline.stage import CONFIG

GIB = 1 << 30
NVIDIA = Environment.NVIDIA
A, B = Address("0x" + "aa" * 20), Address("0x" + "bb" * 20)
FIRST = f"gpu|GPU-1|NVIDIA RTX 4090|{24 * GIB}|0|ok|off"
SECOND = f"gpu|GPU-2|NVIDIA RTX 3060|{12 * GIB}|{GIB}|ok|off"
A100 = f"gpu|GPU-A|NVIDIA A100|{80 * GIB}|0|ok|on"
PLENTY = 60.0


@dataclass
class FakeKeeper:
    changes: list[Address] = field(default_factory=list)
    new_devices: int = 0

    def changed(self, address: Address) -> None:
        self.changes.append(address)

    def devices_changed(self, usable: Set[str]) -> None:
        assert usable
        self.new_devices += 1


def candidate(n: int, source: Address) -> Candidate:
    return wanting(n, source, NVIDIA, frozenset({"f"}))


class Bench:
    """A host with a daemon's hardware part; `restart` gives it a new one over the same journal and containers."""

    def __init__(self, machine: Machine, settings: Settings) -> None:
        self.machine, self.settings = machine, settings
        self.clock, self.journal, self.runtime = FakeClock(), MemoryStore(), FakeRuntime()
        self.probe = Probe("nvidia", self.clock, deadline=PLENTY, environment=machine.environment)
        self.alerts = 0

    async def restart(self) -> None:
        self.hardware = Hardware(self.settings, self.clock, self.journal, self.runtime, None, self._alert, [self.probe])
        self.keeper = FakeKeeper()
        self.scheduler = HostScheduler(Host(4), AdmissionPolicy())
        self.hardware.join(self.scheduler, list, self.keeper)
        await self.hardware.restore()

    def _alert(self) -> None:
        self.alerts += 1

    async def look(self, *script: str) -> dict[str, list[str]]:
        """One look at what the script says; the devices with the codes of what they are withheld for."""
        self.machine.script(*script)
        await self.hardware.look()
        return {device.id: [reason.code for reason in device.withheld] for device in self.scheduler.host.devices}

    def serve(self, source: Address) -> list[str]:
        devices = self.scheduler.grant_devices(source, NVIDIA, 1)
        if devices is not None:
            self.runtime.running[source] = ProjectSpec(source, NVIDIA, b"", devices)
        return [device.id for device in devices or ()]

    def takes(self, n: int, source: Address) -> str:
        """Empty if a task is taken, else what it waits for."""
        return self.scheduler.admit(candidate(n, source)).shortage


@pytest.fixture
async def bench(machine: Machine) -> AsyncIterator[Bench]:
    made = Bench(machine, Settings(admission=AdmissionRules(cpu_slots=4)))
    await made.restart()
    yield made
    await made.probe.aclose()


async def test_an_xid_cordons_its_card_until_a_test_of_it_passes(bench: Bench) -> None:
    await bench.look(FIRST, SECOND)
    assert [bench.serve(source) for source in (A, B)] == [["GPU-1"], ["GPU-2"]]
    assert bench.takes(1, A) == ""
    bench.machine.xid("GPU-1", 79)
    assert await bench.look(FIRST, SECOND) == {"GPU-1": ["gpu.cordoned"], "GPU-2": []}
    assert bench.takes(1, A) == ""  # what it has goes on
    assert bench.takes(2, A) == "GPU-1: cordoned for gpu.xid: Xid 79 (fallen off the bus)"
    assert bench.takes(3, B) == ""
    assert (bench.alerts, [cordon.card for cordon in await bench.journal.cordons()]) == (1, ["GPU-1"])
    await bench.clock.leap(600)
    await bench.hardware.ward.retest()
    assert bench.runtime.tested == ["GPU-1"]
    assert await bench.look(FIRST, SECOND) == {"GPU-1": [], "GPU-2": []}
    assert bench.takes(2, A) == ""


@pytest.mark.parametrize("number", [13, 31, 43, 45])
async def test_an_xid_that_a_program_caused_does_not(bench: Bench, number: int) -> None:
    await bench.look(FIRST)
    bench.machine.xid("GPU-1", number)
    assert await bench.look(FIRST) == {"GPU-1": []}


@pytest.mark.parametrize(
    ("gauges", "code"),
    [
        (("gauge|ecc_uncorrected|1",), "gpu.ecc"),
        (("gauge|rows_failed|1",), "gpu.rows"),
        (("gauge|temperature|95", "gauge|slowdown|90"), "gpu.thermal"),
        (("gauge|pcie_width|4", "gauge|pcie_width_max|16"), "gpu.pcie"),
    ],
)
async def test_each_ailment_cordons_its_card_alone(bench: Bench, gauges: tuple[str, ...], code: str) -> None:
    await bench.look(FIRST, SECOND)
    await bench.look(FIRST, *gauges, SECOND)
    await bench.clock.leap(60)
    assert await bench.look(FIRST, *gauges, SECOND) == {"GPU-1": ["gpu.cordoned"], "GPU-2": []}
    assert [cordon.reason.code for cordon in bench.hardware.ward.standing] == [code]


async def test_a_card_of_instances_is_cordoned_with_all_of_them(bench: Bench) -> None:
    instances = (A100, f"mig|MIG-1|MIG 3g|{40 * GIB}|0", f"mig|MIG-2|MIG 3g|{40 * GIB}|0")
    await bench.look(*instances)
    bench.machine.xid("GPU-A", 95)
    assert await bench.look(*instances) == {"MIG-1": ["gpu.cordoned"], "MIG-2": ["gpu.cordoned"]}
    await bench.clock.leap(600)
    await bench.hardware.ward.retest()
    assert bench.runtime.tested == ["MIG-1", "MIG-2"]
    assert await bench.look(*instances) == {"MIG-1": [], "MIG-2": []}


@pytest.mark.parametrize("state", ["lost", "dying", "reset"])
async def test_a_lost_card_is_cordoned_and_trusted_again_only_after_a_test(bench: Bench, state: str) -> None:
    await bench.look(FIRST, SECOND)
    bench.serve(A)
    bench.takes(1, A)
    assert await bench.look(FIRST.replace("|ok|", f"|{state}|"), SECOND) == {"GPU-2": []}
    assert bench.takes(2, A) == "GPU-1: it is not on this host any more"
    assert bench.scheduler.snapshot().devices_missing == ("GPU-1",)
    assert await bench.look(FIRST, SECOND) == {"GPU-1": ["gpu.cordoned"], "GPU-2": []}
    await bench.clock.leap(600)
    await bench.hardware.ward.retest()
    assert await bench.look(FIRST, SECOND) == {"GPU-1": [], "GPU-2": []}


async def test_an_idle_source_moves_from_a_cordoned_card(bench: Bench) -> None:
    await bench.look(FIRST, SECOND)
    bench.serve(A)
    bench.machine.xid("GPU-1", 48)
    await bench.look(FIRST, SECOND)
    assert bench.keeper.changes == [A]
    assert bench.serve(A) == ["GPU-2"]


async def test_a_restart_keeps_cordons(bench: Bench) -> None:
    await bench.look(FIRST)
    bench.machine.xid("GPU-1", 79)
    await bench.look(FIRST)
    await bench.restart()
    assert await bench.look(FIRST) == {"GPU-1": ["gpu.cordoned"]}
    await bench.hardware.ward.uncordon("GPU-1")
    await bench.restart()
    assert await bench.look(FIRST) == {"GPU-1": []}


async def test_the_owners_game_takes_its_card_out_of_use_while_it_runs(bench: Bench) -> None:
    """This test is the game; the container's process is ours."""
    game, desktop, ours = f"draw|{os.getpid()}|{6 * GIB}", f"draw|1|{GIB // 4}", f"proc|4343|{4 * GIB}"
    bench.runtime.pids = {4343}
    await bench.look(FIRST, desktop, SECOND)
    bench.serve(A)
    assert await bench.look(FIRST, desktop, game, SECOND, ours) == {"GPU-1": ["gpu.foreign"], "GPU-2": []}
    waits = bench.takes(1, A)
    assert waits.startswith("GPU-1: in use by ")
    assert waits.endswith(f"(pid {os.getpid()}, 6.0 GiB)")
    assert await bench.look(FIRST, desktop, SECOND, ours) == {"GPU-1": [], "GPU-2": []}
    assert bench.takes(1, A) == ""


async def test_cards_that_come_later_are_told_to_the_sources_that_wait(bench: Bench) -> None:
    assert await bench.look("driver|missing") == {}
    assert bench.keeper.new_devices == 0
    assert await bench.look(FIRST) == {"GPU-1": []}
    assert bench.keeper.new_devices == 1
    await bench.look(FIRST)
    assert bench.keeper.new_devices == 1
    bench.machine.xid("GPU-1", 79)
    await bench.look(FIRST)
    await bench.hardware.ward.uncordon("GPU-1")
    await bench.look(FIRST)
    assert bench.keeper.new_devices == 2


async def test_a_crash_of_the_driver_cordons_nothing(bench: Bench) -> None:
    await bench.look(FIRST)
    assert await bench.look("driver|crash") == {"GPU-1": ["gpu.driver_crashed"]}
    assert bench.hardware.ward.standing == ()
    await bench.clock.leap(PAUSE_MAX_S)
    assert await bench.look(FIRST) == {"GPU-1": []}


async def test_leases_are_held_against_what_runs_at_each_look(bench: Bench) -> None:
    await bench.look(FIRST, SECOND)
    bench.serve(A)
    bench.runtime.running[B] = ProjectSpec(B, NVIDIA, b"", (bench.scheduler.host.devices[1],))
    bench.runtime.running.pop(A)
    await bench.look(FIRST, SECOND)
    await bench.clock.leap(120)
    await bench.look(FIRST, SECOND)
    assert {lease.holder: lease.devices for lease in bench.scheduler.snapshot().leases} == {
        source_holder(B): ("GPU-2",)
    }
    assert set(bench.keeper.changes) == {A, B}


@pytest.fixture
async def amd(amd_tree: AmdTree, machine: Machine) -> AsyncIterator[Bench]:
    """The same over the kernel's files for AMD cards."""
    made = Bench(machine, Settings(admission=AdmissionRules(cpu_slots=4)))
    await made.probe.aclose()
    made.probe = Probe(
        "amd", made.clock, deadline=PLENTY, sys_root=amd_tree.sys, dev_root=amd_tree.dev, proc_root=amd_tree.proc
    )
    await made.restart()
    yield made
    await made.probe.aclose()


AMD_FIRST, AMD_SECOND = "0000:03:00.0", "0000:83:00.0"
VRAM = {"mem_info_vram_total": str(24 * GIB), "mem_info_vram_used": "0"}


async def test_an_amd_card_is_cordoned_for_what_its_files_say_and_given_back(amd: Bench, amd_tree: AmdTree) -> None:
    first = amd_tree.add(0, AMD_FIRST, render=128, **VRAM)
    amd_tree.add(1, AMD_SECOND, render=129, **VRAM)
    assert await amd.look() == {AMD_FIRST: [], AMD_SECOND: []}
    amd_tree.instruments(first, ras__umc_err_count="ue: 1\nce: 9")
    assert await amd.look() == {AMD_FIRST: ["gpu.cordoned"], AMD_SECOND: []}
    await amd.clock.leap(600)
    await amd.hardware.ward.retest()
    assert amd.runtime.tested == [AMD_FIRST]
    assert await amd.look() == {AMD_FIRST: [], AMD_SECOND: []}
    amd_tree.instruments(first, hwmon__temp1_input="110000", hwmon__temp1_crit="100000")
    await amd.look()
    await amd.clock.leap(60)
    assert await amd.look() == {AMD_FIRST: ["gpu.cordoned"], AMD_SECOND: []}
    assert [cordon.reason.code for cordon in amd.hardware.ward.standing] == ["gpu.thermal"]


async def test_an_amd_card_that_cannot_be_read_is_lost_and_one_that_is_taken_out_is_not(
    amd: Bench, amd_tree: AmdTree
) -> None:
    first = amd_tree.add(0, AMD_FIRST, render=128, **VRAM)
    second = amd_tree.add(1, AMD_SECOND, render=129, **VRAM)
    await amd.look()
    shutil.rmtree(second)
    assert await amd.look() == {AMD_FIRST: []}
    assert not amd.hardware.ward.standing
    (first / "mem_info_vram_total").rename(first / "away")
    assert await amd.look() == {}
    assert [(each.card, each.reason.code) for each in amd.hardware.ward.standing] == [(AMD_FIRST, "gpu.lost")]
    (first / "away").rename(first / "mem_info_vram_total")
    assert await amd.look() == {AMD_FIRST: ["gpu.cordoned"]}


async def test_somebody_who_computes_on_an_amd_card_takes_it_out_of_use(amd: Bench, amd_tree: AmdTree) -> None:
    amd_tree.add(0, AMD_FIRST, render=128, **VRAM)
    amd_tree.computes(1, 100, 0x300)
    assert await amd.look() == {AMD_FIRST: []}
    amd_tree.computes(1, 100, 0x300, **{f"pid{os.getpid()}": 2 * GIB})
    assert await amd.look() == {AMD_FIRST: ["gpu.foreign"]}
    amd.runtime.pids = {os.getpid()}
    assert await amd.look() == {AMD_FIRST: []}


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PLENTY):
        while not true():
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("stuck_at", ["the first look", "a later look"])
async def test_a_hang_of_the_driver_delays_nothing_else(machine: Machine, stuck_at: str) -> None:
    """Twenty tasks go from publication to payment while the driver owes an answer; then it gives it."""
    whole = Whole()
    probe = Probe("nvidia", whole.outside.clock, deadline=10 * PLENTY, environment=machine.environment)
    machine.script(*(("driver|stuck",) if stuck_at == "the first look" else ()), FIRST)
    outside, source = whole.outside, whole.outside.source()
    async with whole.alive() as living:
        hardware = Hardware(Settings(), outside.clock, outside.journal, outside.runtime, None, probes=[probe])
        hardware.join(living.daemon.scheduler, living.daemon.conductor.leases, living.daemon.keeper)
        await hardware.restore()
        if stuck_at == "a later look":
            await hardware.look()
            machine.script("driver|stuck", FIRST, SECOND)
        looking = asyncio.create_task(hardware.look())
        await until(lambda: probe.starts == 1)
        for _ in range(400):
            block, facts = whole.mine()
            row = living.daemon.ports.book.get(source)
            if len(whole.tasks) < 20 and row is not None and row.state == "ready":
                fact = outside.chain.publish_task(source, config_url=CONFIG, lasts=900)
                whole.tasks.append(fact.task)
                facts.append(fact)
            await living.deliver(block, facts)
            await outside.clock.advance(1)
            assert not living.dead
            if len(whole.tasks) == 20 and not await outside.journal.live():
                break
        await audit(whole)
        assert not looking.done()
        machine.release()
        async with asyncio.timeout(PLENTY):
            await looking
        seen = [device.id for device in living.daemon.scheduler.host.devices]
        assert seen == (["GPU-1"] if stuck_at == "the first look" else ["GPU-1", "GPU-2"])
        assert probe.starts == 1
    await probe.aclose()
