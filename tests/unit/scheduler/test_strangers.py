"""Whose program is that on my card?"""

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from ogpu_provider.domain.errors import EngineError
from ogpu_provider.domain.resources import Device
from ogpu_provider.domain.source import Environment
from ogpu_provider.scheduler.reading import DeviceReading, GpuProcess
from ogpu_provider.scheduler.strangers import StrangerPolicy, Strangers, process_name

GIB = 1 << 30
CARD = Device("GPU-1", Environment.NVIDIA, "card", 24 * GIB)
OTHER = Device("GPU-2", Environment.NVIDIA, "card", 24 * GIB)
GAME = GpuProcess(4242, 5 * GIB, graphics=True)
DESKTOP = GpuProcess(900, 300 << 20, graphics=True)
TRAINING = GpuProcess(77, 2 * GIB)


@dataclass
class Street:
    """A host with programs; `ours` run in our containers."""

    ours: set[int] = field(default_factory=set)
    names: dict[int, str] = field(default_factory=lambda: {4242: "quake", 900: "Xorg", 77: "python3"})
    down: bool = False
    asked: int = 0

    async def own(self, pids: Collection[int]) -> Collection[int]:
        self.asked += 1
        if self.down:
            raise EngineError("no answer", code="engine.unreachable")
        return self.ours & set(pids)

    def watch(self, policy: StrangerPolicy | None = None) -> Strangers:
        return Strangers(policy or StrangerPolicy(), self.own, self.names.get)


async def told(strangers: Strangers, *processes: GpuProcess) -> str:
    found = (DeviceReading(CARD, processes=processes), DeviceReading(OTHER))
    reasons = await strangers.look(found, ())
    assert set(reasons) <= {"GPU-1"}
    return reasons["GPU-1"][0].text if reasons else ""


async def test_the_owners_game_takes_the_card_until_it_ends() -> None:
    strangers = Street().watch()
    assert await told(strangers, DESKTOP) == ""
    assert await told(strangers, DESKTOP, GAME) == "in use by quake (pid 4242, 5.0 GiB)"
    assert await told(strangers, DESKTOP) == ""


async def test_what_computes_counts_whatever_it_takes() -> None:
    strangers = Street().watch()
    assert await told(strangers, GpuProcess(77, 1 << 20)) == "in use by python3 (pid 77, 0.0 GiB)"
    assert await told(strangers, GpuProcess(77, None)) == "in use by python3 (pid 77, memory unknown)"


async def test_our_own_containers_are_no_strangers() -> None:
    street = Street(ours={77})
    assert await told(street.watch(), TRAINING) == ""
    assert await told(street.watch(), TRAINING, GAME) == "in use by quake (pid 4242, 5.0 GiB)"


async def test_how_much_a_desktop_may_take_is_the_operators_to_say() -> None:
    street = Street()
    assert await told(street.watch(StrangerPolicy(desktop=6 * GIB)), GAME) == ""
    assert await told(street.watch(StrangerPolicy(desktop=0)), DESKTOP) != ""
    assert await told(street.watch(StrangerPolicy(withhold=False)), GAME, TRAINING) == ""


async def test_the_largest_are_named_and_the_rest_counted() -> None:
    street = Street(names={n: f"p{n}" for n in range(1, 7)})
    many = [GpuProcess(n, n * GIB) for n in range(1, 7)]
    text = "in use by p6 (pid 6, 6.0 GiB), p5 (pid 5, 5.0 GiB), p4 (pid 4, 4.0 GiB) and 3 more"
    assert await told(street.watch(), *many) == text


async def test_a_process_that_has_just_ended_is_no_stranger_but_one_that_stays_unseen_is() -> None:
    strangers = Street(names={}).watch()
    assert await told(strangers, TRAINING) == ""
    assert await told(strangers) == ""
    assert await told(strangers, TRAINING) == ""
    assert await told(strangers, TRAINING) == "in use by a program (pid 77, 2.0 GiB)"


async def test_while_nobody_can_say_whose_they_are_it_is_as_it_was() -> None:
    street = Street()
    strangers = street.watch()
    await told(strangers, GAME)
    street.down = True
    assert await told(strangers, GAME, TRAINING) == "in use by quake (pid 4242, 5.0 GiB)"
    assert await told(strangers) == ""  # nobody is there to ask about
    street.down = False
    assert await told(strangers, TRAINING) == "in use by python3 (pid 77, 2.0 GiB)"


async def test_nobody_is_asked_about_nothing() -> None:
    street = Street()
    await told(street.watch(), DESKTOP)
    assert street.asked == 0


def test_a_process_is_named_as_the_kernel_names_it(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "comm").write_text("quake\n")
    assert process_name(7, tmp_path) == "quake"
    assert process_name(8, tmp_path) is None
