"""What the Scheduler port promises, asked of the real one and of its fake."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from ogpu_provider.domain.admission import Candidate
from ogpu_provider.domain.resources import Device, Host, Lease, source_holder, task_holder
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.units import Address
from ogpu_provider.pipeline.ports import Scheduler
from ogpu_provider.scheduler.rules import AdmissionPolicy
from ogpu_provider.scheduler.scheduler import HostScheduler
from tests.fakes.candidates import wanting
from tests.fakes.scheduler import FakeScheduler

CPU, NVIDIA, AMD = Environment.CPU, Environment.NVIDIA, Environment.AMD
A, B = Address("0x" + "aa" * 20), Address("0x" + "bb" * 20)
GPUS = (Device("g0", NVIDIA, "card", 100), Device("g1", NVIDIA, "card", 100))
HOST = Host(2, GPUS)

Make = Callable[[Host], Scheduler]


def real(host: Host) -> Scheduler:
    return HostScheduler(host, AdmissionPolicy())


def fake(host: Host) -> Scheduler:
    return FakeScheduler(host)


@pytest.fixture(params=[real, fake])
def make(request: pytest.FixtureRequest) -> Make:
    made: Make = request.param
    return made


def candidate(n: int, source: Address = A) -> Candidate:
    return wanting(n, source, CPU, frozenset({"f"}))


def test_it_shows_its_host(make: Make) -> None:
    assert make(HOST).host == HOST


def test_environment_is_one_that_is_offered_and_present(make: Make) -> None:
    s = make(HOST)
    assert s.choose_environment(frozenset({CPU, NVIDIA, AMD})) is NVIDIA
    assert s.choose_environment(frozenset({CPU, AMD})) is CPU
    assert s.choose_environment(frozenset({AMD})) is None
    assert make(Host(1)).choose_environment(frozenset({CPU, NVIDIA})) is CPU


def test_devices_are_granted_whole_and_to_one_source_only(make: Make) -> None:
    s = make(HOST)
    mine = s.grant_devices(A, NVIDIA, 1)
    theirs = s.grant_devices(B, NVIDIA, 1)
    assert mine is not None
    assert theirs is not None
    assert {*mine, *theirs} == set(GPUS)
    assert s.grant_devices(B, NVIDIA, 2) is None
    assert s.grant_devices(B, NVIDIA, 1) == theirs


def test_a_source_that_holds_devices_gets_the_same_ones_again(make: Make) -> None:
    s = make(HOST)
    s.restore(Lease(source_holder(A), devices=("g1",), source=A))
    assert s.grant_devices(A, NVIDIA, 1) == GPUS[1:]
    assert s.grant_devices(A, NVIDIA, 2) == (GPUS[1], GPUS[0])


def test_devices_are_free_after_release(make: Make) -> None:
    s = make(HOST)
    s.grant_devices(A, NVIDIA, 2)
    assert s.grant_devices(B, NVIDIA, 1) is None
    assert s.release(source_holder(A)) is True
    assert s.grant_devices(B, NVIDIA, 2) == GPUS


def test_no_devices_for_a_cpu_source(make: Make) -> None:
    assert make(HOST).grant_devices(A, CPU, 0) == ()
    assert make(HOST).grant_devices(A, CPU, 1) is None


def test_an_admitted_task_holds_a_slot_in_its_own_name(make: Make) -> None:
    admission = make(HOST).admit(candidate(1))
    assert admission.verdict.accepted
    assert admission.lease == Lease(task_holder(candidate(1).task), slots=1, source=A)
    assert admission.shortage == ""


def test_a_full_host_accepts_without_a_lease_until_there_is_room(make: Make) -> None:
    s = make(HOST)
    for n in range(2):
        assert s.admit(candidate(n)).lease is not None
    waiting = s.admit(candidate(2))
    assert waiting.verdict.accepted
    assert waiting.lease is None
    assert waiting.shortage
    assert s.release(task_holder(candidate(0).task)) is True
    assert s.admit(candidate(2)).lease is not None


def test_admitting_the_same_task_again_takes_nothing_more(make: Make) -> None:
    s = make(Host(1))
    first = s.admit(candidate(1))
    assert s.admit(candidate(1)) == first
    assert s.release(task_holder(candidate(1).task)) is True
    assert s.release(task_holder(candidate(1).task)) is False


def test_a_refused_task_holds_nothing(make: Make) -> None:
    s = make(HOST)
    refused = s.admit(replace(candidate(1), expiry=1000))
    assert [reason.code for reason in refused.verdict.reasons] == ["time.expired"]
    assert refused.lease is None
    assert s.release(task_holder(candidate(1).task)) is False


def test_restored_leases_count_even_where_they_no_longer_fit(make: Make) -> None:
    s = make(Host(1))
    for n in range(2):
        s.restore(Lease(task_holder(candidate(n).task), slots=1, source=B))
    assert s.admit(candidate(9)).lease is None
    s.release(task_holder(candidate(0).task))
    assert s.admit(candidate(9)).lease is None
    s.release(task_holder(candidate(1).task))
    assert s.admit(candidate(9)).lease is not None


def test_a_task_restored_gets_the_lease_that_it_has(make: Make) -> None:
    s = make(Host(1))
    lease = Lease(task_holder(candidate(1).task), slots=1, source=A)
    s.restore(lease)
    assert s.admit(candidate(1)).lease == lease


def test_release_of_nothing_is_said(make: Make) -> None:
    assert make(HOST).release("task:0x0") is False
