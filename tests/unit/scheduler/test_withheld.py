"""A card that takes no new work: what runs on it goes on, nothing new begins, and nothing moves."""

from dataclasses import replace

from ogpu_provider.domain.admission import Candidate
from ogpu_provider.domain.resources import Device, Host, source_holder, task_holder
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.units import Address
from ogpu_provider.domain.verdict import Reason
from ogpu_provider.scheduler.rules import AdmissionPolicy
from ogpu_provider.scheduler.scheduler import HostScheduler
from tests.fakes.candidates import wanting

A, B = Address("0x" + "aa" * 20), Address("0x" + "bb" * 20)
CARD = Device("GPU-1", Environment.NVIDIA, "card", 1 << 34)
SILENT = Reason("gpu.driver_hangs", "the nvidia driver did not answer within 10 s")
WITHHELD = replace(CARD, withheld=(SILENT,))


def candidate(n: int, source: Address = A) -> Candidate:
    return wanting(n, source, Environment.NVIDIA, frozenset({"f"}))


def test_a_withheld_card_keeps_its_lease_and_takes_new_tasks_only_when_it_is_good_again() -> None:
    scheduler = HostScheduler(Host(4, (CARD,)), AdmissionPolicy())
    assert scheduler.grant_devices(A, Environment.NVIDIA, 1) == (CARD,)
    running = scheduler.admit(candidate(1))
    assert running.lease is not None
    scheduler.release(task_holder(candidate(9).task))
    scheduler.observe(Host(4, (WITHHELD,)))
    assert scheduler.admit(candidate(1)).lease == running.lease
    waiting = scheduler.admit(candidate(2))
    assert (waiting.verdict.accepted, waiting.lease) == (True, None)
    assert waiting.shortage == f"GPU-1: {SILENT.text}"
    assert scheduler.grant_devices(A, Environment.NVIDIA, 1) == (WITHHELD,)
    assert scheduler.grant_devices(B, Environment.NVIDIA, 1) is None
    scheduler.release(task_holder(candidate(1).task))
    scheduler.observe(Host(4, (CARD,)))
    assert scheduler.admit(candidate(2)).lease is not None


def test_sources_on_other_cards_notice_nothing() -> None:
    other = replace(CARD, id="GPU-2")
    scheduler = HostScheduler(Host(4, (CARD, other)), AdmissionPolicy())
    scheduler.grant_devices(A, Environment.NVIDIA, 1)
    scheduler.grant_devices(B, Environment.NVIDIA, 1)
    scheduler.observe(Host(4, (WITHHELD, other)))
    assert scheduler.admit(candidate(1, A)).lease is None
    assert scheduler.admit(candidate(2, B)).lease is not None


CORDONED = replace(CARD, withheld=(Reason("gpu.cordoned", "cordoned for gpu.xid: Xid 79"),))
OTHER = replace(CARD, id="GPU-2")


def test_a_source_moves_from_a_cordoned_card_when_its_work_is_done_and_another_is_free() -> None:
    scheduler = HostScheduler(Host(4, (CARD, OTHER)), AdmissionPolicy())
    scheduler.grant_devices(A, Environment.NVIDIA, 1)
    running = scheduler.admit(candidate(1))
    assert running.lease is not None
    scheduler.observe(Host(4, (CORDONED, OTHER)))
    assert scheduler.movable() == []
    assert scheduler.grant_devices(A, Environment.NVIDIA, 1) == (CORDONED,)
    assert scheduler.admit(candidate(2)).lease is None
    scheduler.release(task_holder(candidate(1).task))
    assert scheduler.movable() == [A]
    assert scheduler.grant_devices(A, Environment.NVIDIA, 1) == (OTHER,)
    assert scheduler.movable() == []
    assert scheduler.admit(candidate(2)).lease is not None


def test_it_stays_where_it_is_while_no_other_card_is_free_or_the_driver_is_only_silent() -> None:
    scheduler = HostScheduler(Host(4, (CARD, OTHER)), AdmissionPolicy())
    scheduler.grant_devices(A, Environment.NVIDIA, 1)
    scheduler.grant_devices(B, Environment.NVIDIA, 1)
    scheduler.observe(Host(4, (CORDONED, OTHER)))
    assert scheduler.movable() == []
    assert scheduler.grant_devices(A, Environment.NVIDIA, 1) == (CORDONED,)
    scheduler.release(source_holder(B))
    scheduler.observe(Host(4, (WITHHELD, OTHER)))
    assert scheduler.movable() == []


def test_of_two_cards_the_good_one_is_kept() -> None:
    third = replace(CARD, id="GPU-3")
    scheduler = HostScheduler(Host(4, (CARD, OTHER, third)), AdmissionPolicy())
    assert scheduler.grant_devices(A, Environment.NVIDIA, 2) == (CARD, OTHER)
    scheduler.observe(Host(4, (CORDONED, OTHER, third)))
    assert scheduler.grant_devices(A, Environment.NVIDIA, 2) == (OTHER, third)


def test_a_source_whose_card_is_gone_takes_no_new_task_and_moves_to_another() -> None:
    scheduler = HostScheduler(Host(4, (CARD,)), AdmissionPolicy())
    scheduler.grant_devices(A, Environment.NVIDIA, 1)
    scheduler.observe(Host(4))
    assert scheduler.admit(candidate(1)).shortage == "GPU-1: it is not on this host any more"
    assert scheduler.movable() == []
    scheduler.observe(Host(4, (OTHER,)))
    assert scheduler.movable() == [A]
    assert scheduler.grant_devices(A, Environment.NVIDIA, 1) == (OTHER,)
