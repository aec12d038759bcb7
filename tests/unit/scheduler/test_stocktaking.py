"""Leases against what runs: whatever the two say, after a few looks they say the same."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from ogpu_provider.domain.project import Occupancy, RunningProject
from ogpu_provider.domain.resources import Device, Host, Lease, source_holder, task_holder
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.units import Address
from ogpu_provider.scheduler.ledger import Ledger
from ogpu_provider.scheduler.stocktaking import GRACE_S, Stocktaking
from tests.fakes.clock import FakeClock

NVIDIA = Environment.NVIDIA
CARDS = tuple(Device(f"g{n}", NVIDIA, "card", 100) for n in range(4))
A, B, C = (Address("0x" + digit * 40) for digit in "abc")
TASK = Address("0x" + "7" * 40)
OWED = Lease(task_holder(TASK), 1, (), A)


def project(source: Address, *devices: str) -> RunningProject:
    return RunningProject(source, NVIDIA, "sha", devices)


def lease(source: Address, *devices: str, memory: int = 0) -> Lease:
    return Lease(source_holder(source), 0, devices, source, memory)


@dataclass
class Shop:
    clock: FakeClock = field(default_factory=FakeClock)

    def __post_init__(self) -> None:
        self.ledger = Ledger(Host(4, CARDS))
        self.stock = Stocktaking(self.ledger, self.clock)

    def look(
        self, *running: RunningProject, changing: Iterable[Address] = (), tasks: Iterable[Lease] = ()
    ) -> list[tuple[str, str]]:
        made = self.stock.check(Occupancy(running, frozenset(changing)), tasks)
        return [(each.code, each.holder) for each in made]

    @property
    def held(self) -> dict[str, tuple[str, ...]]:
        return {lease.holder: lease.devices for lease in self.ledger.snapshot().leases}


async def test_a_lease_whose_containers_are_gone_is_given_back_after_a_grace() -> None:
    shop = Shop()
    shop.ledger.restore(lease(A, "g0"))
    assert shop.look() == []
    await shop.clock.advance(GRACE_S - 1)
    assert shop.look() == []
    await shop.clock.advance(1)
    assert shop.look() == [("lease.released", source_holder(A))]
    assert shop.held == {}


async def test_the_grace_begins_anew_when_containers_were_seen_or_are_on_their_way() -> None:
    shop = Shop()
    shop.ledger.restore(lease(A, "g0"))
    for changing in ([A], []):
        shop.look()
        await shop.clock.advance(GRACE_S - 1)
        shop.look(*([] if changing else [project(A, "g0")]), changing=changing)
        await shop.clock.advance(GRACE_S - 1)
    assert shop.look() == []
    assert shop.held == {source_holder(A): ("g0",)}


def test_what_runs_without_a_lease_gets_one_at_the_second_look() -> None:
    """At the first it may just have been taken down."""
    shop = Shop()
    assert shop.look(project(A, "g1")) == []
    assert shop.look(project(A, "g1")) == [("lease.restored", source_holder(A))]
    assert shop.held == {source_holder(A): ("g1",)}
    assert shop.ledger.grant(lease(B, "g1")) != ""


def test_what_is_being_started_or_taken_down_is_left_alone() -> None:
    shop = Shop()
    assert [shop.look(project(A, "g1"), changing=[A]) for _ in range(3)] == [[], [], []]


def test_a_lease_follows_the_labels_of_its_containers_and_keeps_its_share() -> None:
    shop = Shop()
    shop.ledger.restore(lease(A, "g0", memory=40))
    shop.look(project(A, "g2"))
    assert shop.look(project(A, "g2")) == [("lease.moved", source_holder(A))]
    assert shop.ledger.lease(source_holder(A)) == lease(A, "g2", memory=40)
    assert shop.look(project(A, "g2")) == []


def test_two_on_a_device_that_one_has_alone_are_told_once_and_left() -> None:
    shop = Shop()
    shop.ledger.restore(lease(A, "g0"))
    shop.look(project(A, "g0"), project(B, "g0"))
    both = [project(A, "g0"), project(B, "g0")]
    assert shop.look(*both) == [("lease.restored", source_holder(B)), ("device.contested", source_holder(A))]
    assert shop.look(*both) == []
    assert set(shop.held) == {source_holder(A), source_holder(B)}


def test_two_who_share_a_device_by_their_leases_do_not_contest_it() -> None:
    shop = Shop()
    shop.ledger.restore(lease(A, "g0", memory=40))
    shop.ledger.restore(lease(B, "g0", memory=40))
    assert [shop.look(project(A, "g0"), project(B, "g0")) for _ in range(2)] == [[], []]


async def test_a_task_at_work_has_its_slot_and_one_that_is_over_has_none() -> None:
    shop = Shop()
    assert shop.look(tasks=[OWED]) == [("lease.restored", OWED.holder)]
    assert shop.look(tasks=[OWED]) == []
    shop.look()
    await shop.clock.advance(GRACE_S)
    assert shop.look() == [("lease.released", OWED.holder)]


world = st.dictionaries(
    st.sampled_from([A, B, C]), st.lists(st.sampled_from([card.id for card in CARDS]), unique=True, max_size=2)
)


@given(st.lists(st.tuples(world, world, st.floats(0, 200)), max_size=20), world)
async def test_whatever_happened_the_leases_come_to_agree_with_what_runs(
    history: list[tuple[dict[Address, list[str]], dict[Address, list[str]], float]], last: dict[Address, list[str]]
) -> None:
    shop = Shop()
    for restored, running, seconds in history:
        for source, devices in restored.items():
            shop.ledger.restore(lease(source, *devices))
        shop.look(*(project(source, *devices) for source, devices in running.items()))
        await shop.clock.leap(seconds)
    now = [project(source, *devices) for source, devices in last.items()]
    for _ in range(3):
        shop.look(*now)
        await shop.clock.leap(GRACE_S)
    assert {holder: set(devices) for holder, devices in shop.held.items()} == {
        source_holder(source): set(devices) for source, devices in last.items()
    }
    assert {code for code, _ in shop.look(*now)} <= {"device.contested"}
