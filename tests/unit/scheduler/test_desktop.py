from pathlib import Path

import pytest

from ogpu_provider.scheduler.desktop import Desktop, Session, loginctl, seated
from tests.fakes.clock import FakeClock

DESKTOP = "UID=1000\nUSER=owner\nACTIVE=1\nSTATE=active\nREMOTE=0\nTYPE=wayland\nCLASS=user\nSEAT=seat0\nVTNR=2\n"


class Seat:
    """logind as the tests have it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said: dict[str, str] = {}

    def log_in(self, session: str, text: str = DESKTOP, *, said: str = "IdleHint=no\nIdleSinceHint=0\n") -> None:
        (self.folder / session).write_text(text)
        self.said[session] = said

    async def ask(self, session: str) -> str:
        return self.said[session]

    async def sessions(self) -> tuple[Session, ...]:
        return await seated(self.folder, self.ask)


@pytest.fixture
def seat(tmp_path: Path) -> Seat:
    return Seat(tmp_path)


async def test_somebody_at_the_seat_is_present(seat: Seat) -> None:
    seat.log_in("2")
    (seat.folder / "2.ref").write_text("a pipe of logind's")
    assert await seat.sessions() == (Session("owner at seat0 (wayland)"),)


async def test_a_desktop_that_says_it_is_idle_says_since_when(seat: Seat) -> None:
    seat.log_in("2", said="IdleHint=yes\nIdleSinceHint=1800000000000000\n")
    assert await seat.sessions() == (Session("owner at seat0 (wayland)", 1_800_000_000.0),)


@pytest.mark.parametrize(
    "change",
    [("REMOTE=0", "REMOTE=1"), ("SEAT=seat0", "SEAT="), ("CLASS=user", "CLASS=greeter"), ("ACTIVE=1", "ACTIVE=0")],
)
async def test_who_is_not_at_the_screen_does_not_count(seat: Seat, change: tuple[str, str]) -> None:
    seat.log_in("3", DESKTOP.replace(*change))
    assert await seat.sessions() == ()


async def test_where_nobody_can_say_how_long_he_is_present(seat: Seat) -> None:
    seat.log_in("2", said="")
    assert await seat.sessions() == (Session("owner at seat0 (wayland)"),)


async def test_a_host_without_logind_has_nobody(tmp_path: Path) -> None:
    assert await seated(tmp_path / "missing") == ()
    assert await loginctl("no-such-session") == ""


async def test_the_machine_is_free_again_when_nobody_has_touched_it_for_long_enough(seat: Seat) -> None:
    clock = FakeClock()
    desktop = Desktop(clock, seat.sessions, idle_after=300)
    await desktop.look()
    assert desktop.in_use() == ""
    seat.log_in("2")
    await desktop.look()
    assert desktop.in_use() == "owner at seat0 (wayland)"
    seat.log_in("2", said=f"IdleHint=yes\nIdleSinceHint={int((clock.now() - 200) * 1e6)}\n")
    await desktop.look()
    assert desktop.in_use() != "", "a screen that was just locked is not yet free"
    await clock.advance(101)
    await desktop.look()
    assert desktop.in_use() == ""
    seat.log_in("2")
    await desktop.look()
    (seat.folder / "2").unlink()
    await desktop.look()
    assert desktop.in_use() == ""
