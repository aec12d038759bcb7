from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ogpu_provider.domain.resources import Device, Host, Lease, source_holder, task_holder
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.units import Address
from ogpu_provider.scheduler.ledger import Ledger

A, B = Address("0x" + "aa" * 20), Address("0x" + "bb" * 20)


def gpu(name: str) -> Device:
    return Device(name, Environment.NVIDIA, "card", 1 << 34)


def host(slots: int = 2, devices: Sequence[str] = ("g0", "g1")) -> Host:
    return Host(slots, tuple(gpu(name) for name in devices))


def task(n: int, source: Address = A, slots: int = 1) -> Lease:
    return Lease(task_holder(Address(f"0x{n:040x}")), slots=slots, source=source)


def project(source: Address, *devices: str) -> Lease:
    return Lease(source_holder(source), devices=devices, source=source)


def test_slots_are_granted_until_they_are_all_taken() -> None:
    ledger = Ledger(host(slots=2))
    assert ledger.grant(task(1)) == ""
    assert ledger.grant(task(2)) == ""
    assert ledger.grant(task(3)) == "2 of 2 task slots of this host are taken"
    assert ledger.release(task(1).holder)
    assert ledger.grant(task(3)) == ""


def test_a_source_has_its_own_limit() -> None:
    ledger = Ledger(host(slots=8))
    assert ledger.grant(task(1, A), source_limit=1) == ""
    assert "has 1 of 1 tasks running" in ledger.grant(task(2, A), source_limit=1)
    assert ledger.grant(task(3, B), source_limit=1) == ""


def test_devices_are_granted_as_a_whole_or_not_at_all() -> None:
    ledger = Ledger(host())
    assert ledger.grant(project(A, "g0")) == ""
    assert ledger.grant(project(B, "g0", "g1")) == "held by another source: g0"
    assert ledger.lease(source_holder(B)) is None
    assert ledger.snapshot().devices_free == ("g1",)


def test_a_device_that_the_host_does_not_have_is_not_granted() -> None:
    assert Ledger(host()).grant(project(A, "g7")) == "not on this host: g7"


def test_granting_again_changes_nothing_even_on_a_full_host() -> None:
    ledger = Ledger(host(slots=1))
    ledger.grant(task(1))
    before = ledger.snapshot()
    assert ledger.grant(task(1), source_limit=1) == ""
    assert ledger.snapshot() == before


def test_a_lease_grows_only_by_what_is_free_and_else_stays() -> None:
    ledger = Ledger(host(devices=("g0", "g1", "g2")))
    ledger.grant(project(A, "g0"))
    ledger.grant(project(B, "g1"))
    assert ledger.grant(project(A, "g0", "g1")) != ""
    assert ledger.lease(source_holder(A)) == project(A, "g0")
    assert ledger.grant(project(A, "g0", "g2")) == ""
    assert ledger.snapshot().devices_free == ()


def test_what_is_restored_counts_where_it_does_not_fit() -> None:
    ledger = Ledger(host(slots=1))
    ledger.restore(task(1))
    ledger.restore(task(2))
    assert ledger.snapshot().slots_used == 2
    ledger.release(task(1).holder)
    assert ledger.grant(task(3)) != ""
    ledger.release(task(2).holder)
    assert ledger.grant(task(3)) == ""


def test_a_device_restored_to_two_holders_is_free_after_both() -> None:
    ledger = Ledger(host(devices=("g0",)))
    ledger.restore(project(A, "g0"))
    ledger.restore(project(B, "g0"))
    ledger.release(source_holder(A))
    assert ledger.grant(project(A, "g0")) != ""
    ledger.release(source_holder(B))
    assert ledger.grant(project(A, "g0")) == ""


def test_a_device_that_went_away_is_still_held_and_can_come_back() -> None:
    ledger = Ledger(host())
    ledger.grant(project(A, "g0"))
    ledger.resize(host(devices=("g1",)))
    assert ledger.snapshot().devices_missing == ("g0",)
    assert ledger.snapshot().devices_free == ("g1",)
    ledger.resize(host())
    assert ledger.grant(project(B, "g0")) != ""


def test_release_of_nothing_says_so() -> None:
    assert Ledger(host()).release("task:nobody") is False


class LedgerModel(RuleBasedStateMachine):
    """Random lives of a ledger beside what must always hold of it."""

    DEVICES = ("g0", "g1", "g2")

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger(host(3, self.DEVICES))
        self.mirror: dict[str, Lease] = {}

    @rule(n=st.integers(0, 5), source=st.sampled_from([A, B]), slots=st.integers(1, 2), limit=st.none() | st.just(2))
    def run_task(self, n: int, source: Address, slots: int, limit: int | None) -> None:
        self._grant(task(n, source, slots), limit)

    @rule(source=st.sampled_from([A, B]), devices=st.sets(st.sampled_from((*DEVICES, "g9"))))
    def start_project(self, source: Address, devices: set[str]) -> None:
        self._grant(project(source, *sorted(devices)), None)

    def _grant(self, lease: Lease, limit: int | None) -> None:
        before = self.ledger.snapshot()
        had = self.ledger.lease(lease.holder) or Lease(lease.holder)
        if self.ledger.grant(lease, source_limit=limit):
            assert self.ledger.snapshot() == before
            return
        self.mirror[lease.holder] = lease
        after = self.ledger.snapshot()
        if lease.slots > had.slots:
            assert after.slots_used <= after.slots
            own = sum(other.slots for other in after.leases if other.source == lease.source)
            assert limit is None or own <= limit
        for device in set(lease.devices) - set(had.devices):
            assert device in after.devices
            assert [other.holder for other in after.leases if device in other.devices] == [lease.holder]

    @rule(n=st.integers(0, 5), source=st.sampled_from([A, B]))
    def restore_task(self, n: int, source: Address) -> None:
        self.ledger.restore(task(n, source))
        self.mirror[task(n).holder] = task(n, source)

    @rule(source=st.sampled_from([A, B]), devices=st.sets(st.sampled_from(DEVICES)))
    def restore_project(self, source: Address, devices: set[str]) -> None:
        self.ledger.restore(project(source, *devices))
        self.mirror[source_holder(source)] = project(source, *devices)

    @rule(holder=st.integers(0, 5).map(lambda n: task(n).holder) | st.sampled_from([A, B]).map(source_holder))
    def release(self, holder: str) -> None:
        assert self.ledger.release(holder) == (self.mirror.pop(holder, None) is not None)
        assert self.ledger.release(holder) is False

    @rule(slots=st.integers(1, 4), devices=st.lists(st.sampled_from(DEVICES), unique=True))
    def observe(self, slots: int, devices: list[str]) -> None:
        self.ledger.resize(host(slots, devices))

    @invariant()
    def holds_what_was_given_and_not_returned(self) -> None:
        assert {lease.holder: lease for lease in self.ledger.snapshot().leases} == self.mirror

    @invariant()
    def a_restored_ledger_is_the_live_one(self) -> None:
        again = Ledger(self.ledger.host)
        for lease in reversed(self.ledger.snapshot().leases):
            again.restore(lease)
        assert again.snapshot() == self.ledger.snapshot()


TestLedgerModel = LedgerModel.TestCase

_STEPS = st.lists(st.tuples(st.booleans(), st.integers(0, 6)), max_size=40)


@given(slots=st.integers(1, 4), steps=_STEPS)
def test_without_restores_nothing_is_ever_oversubscribed(slots: int, steps: list[tuple[bool, int]]) -> None:
    ledger = Ledger(host(slots))
    for grant, n in steps:
        if grant:
            ledger.grant(task(n))
            ledger.grant(project(Address(f"0x{n:040x}"), f"g{n % 2}"))
        else:
            ledger.release(task(n).holder)
            ledger.release(source_holder(Address(f"0x{n:040x}")))
        leases = ledger.snapshot().leases
        held = [device for lease in leases for device in lease.devices]
        assert ledger.snapshot().slots_used <= slots
        assert len(held) == len(set(held))


@given(steps=_STEPS)
def test_after_everything_is_released_everything_can_be_granted(steps: list[tuple[bool, int]]) -> None:
    ledger = Ledger(host(slots=3))
    for grant, n in steps:
        (ledger.grant if grant else ledger.restore)(task(n))
    for lease in ledger.snapshot().leases:
        ledger.release(lease.holder)
    assert [ledger.grant(task(100 + n)) for n in range(3)] == ["", "", ""]
