from dataclasses import replace

import pytest

from ogpu_provider.domain.admission import Candidate
from ogpu_provider.domain.resources import Device, Host, Lease, source_holder, task_holder
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.units import Address
from ogpu_provider.scheduler.requirements import Requirement, SlotLimits, of_task
from ogpu_provider.scheduler.rules import AdmissionPolicy
from ogpu_provider.scheduler.scheduler import HostScheduler
from tests.fakes.candidates import wanting

SOURCE = Address("0x" + "aa" * 20)
OTHER = Address("0x" + "bb" * 20)
GPUS = tuple(Device(f"g{n}", Environment.NVIDIA, "card", 100, memory_used=n) for n in range(3))


def candidate(n: int, environment: Environment = Environment.CPU, source: Address = SOURCE) -> Candidate:
    return wanting(n, source, environment)


def scheduler(slots: int = 8, policy: AdmissionPolicy | None = None) -> HostScheduler:
    return HostScheduler(Host(slots, GPUS), policy or AdmissionPolicy())


def admitted(s: HostScheduler, *candidates: Candidate) -> list[bool]:
    return [s.admit(c).lease is not None for c in candidates]


def test_a_cpu_source_may_fill_the_host() -> None:
    s = scheduler(slots=2)
    assert admitted(s, *(candidate(n) for n in range(3))) == [True, True, False]
    assert s.admit(candidate(2)).shortage == "2 of 2 task slots of this host are taken"


def test_the_operator_can_hold_a_cpu_source_back() -> None:
    s = scheduler(policy=AdmissionPolicy(slots=SlotLimits(cpu_per_source=1)))
    assert admitted(s, candidate(1), candidate(2), candidate(3, source=OTHER)) == [True, False, True]


def test_a_gpu_source_runs_one_task_for_each_of_its_devices() -> None:
    s = scheduler()
    s.grant_devices(SOURCE, Environment.NVIDIA, 2)
    assert admitted(s, *(candidate(n, Environment.NVIDIA) for n in range(3))) == [True, True, False]


@pytest.mark.parametrize(
    ("environment", "devices", "limits", "expected"),
    [
        (Environment.CPU, 0, SlotLimits(), Requirement(1, 4)),
        (Environment.CPU, 0, SlotLimits(cpu_per_source=2), Requirement(1, 2)),
        (Environment.NVIDIA, 0, SlotLimits(), Requirement(1, 1)),
        (Environment.AMD, 3, SlotLimits(), Requirement(1, 3)),
        (Environment.AMD, 3, SlotLimits(gpu_per_device=2), Requirement(1, 6)),
    ],
)
def test_requirements(environment: Environment, devices: int, limits: SlotLimits, expected: Requirement) -> None:
    assert of_task(environment, devices, 4, limits) == expected


def test_limits_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one slot"):
        SlotLimits(gpu_per_device=0)
    with pytest.raises(ValueError, match="at least one slot"):
        SlotLimits(cpu_per_source=0)


def test_a_refused_task_takes_nothing() -> None:
    s = scheduler()
    refused = s.admit(replace(candidate(1), expiry=1000))
    assert [reason.code for reason in refused.verdict.reasons] == ["time.expired"]
    assert refused.lease is None
    assert s.snapshot().slots_used == 0


def test_judging_takes_nothing() -> None:
    s = scheduler()
    assert s.judge(candidate(1)).accepted
    assert s.snapshot().leases == ()


def test_a_project_grows_keeps_what_it_has_and_shrinks_from_the_end() -> None:
    s = scheduler()
    first = s.grant_devices(SOURCE, Environment.NVIDIA, 1)
    assert first == (GPUS[0],)
    assert s.grant_devices(SOURCE, Environment.NVIDIA, 2) == GPUS[:2]
    s.observe(Host(8, (replace(GPUS[0], memory_used=99), *GPUS[1:])))
    again = s.grant_devices(SOURCE, Environment.NVIDIA, 2)
    assert again is not None
    assert [device.id for device in again] == ["g0", "g1"]
    assert s.grant_devices(SOURCE, Environment.NVIDIA, 4) is None
    assert s.snapshot().devices_free == ("g2",)


def test_a_lost_device_is_replaced_and_without_a_replacement_nothing_changes() -> None:
    s = scheduler()
    s.grant_devices(SOURCE, Environment.NVIDIA, 1)
    s.grant_devices(OTHER, Environment.NVIDIA, 1)
    s.observe(Host(8, GPUS[1:2]))
    assert s.grant_devices(SOURCE, Environment.NVIDIA, 1) is None
    assert s.snapshot().devices_missing == ("g0",)
    s.observe(Host(8, GPUS[1:]))
    assert s.grant_devices(SOURCE, Environment.NVIDIA, 1) == (GPUS[2],)
    assert s.snapshot().devices_missing == ()


def test_devices_of_projects_found_running_are_counted_before_new_ones_are_given() -> None:
    s = scheduler()
    s.restore(Lease(source_holder(OTHER), devices=("g0",), source=OTHER))
    assert s.grant_devices(SOURCE, Environment.NVIDIA, 1) == (GPUS[1],)


def test_the_snapshot_shows_capacity_and_holders() -> None:
    s = scheduler(slots=2)
    s.grant_devices(SOURCE, Environment.NVIDIA, 1)
    s.admit(candidate(1, Environment.NVIDIA))
    shown = s.snapshot()
    assert (shown.slots, shown.slots_used, shown.devices_free) == (2, 1, ("g1", "g2"))
    assert [lease.holder for lease in shown.leases] == [
        source_holder(SOURCE),
        task_holder(candidate(1).task),
    ]
