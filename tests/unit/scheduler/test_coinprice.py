import os
from fractions import Fraction
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from ogpu_provider.scheduler.coinprice import CoinPrice
from tests.fakes.clock import FakeClock


class File:
    """A price on disk, with the age that a test gives it."""

    def __init__(self, folder: Path, clock: FakeClock) -> None:
        self.path = folder / "price"
        self._clock = clock

    def write(self, text: str, age: float = 0.0) -> None:
        self.path.write_text(text)
        at = self._clock.now() - age
        os.utime(self.path, (at, at))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def file(tmp_path: Path, clock: FakeClock) -> File:
    return File(tmp_path, clock)


def price(clock: FakeClock, file: File, static: Fraction | None = None) -> CoinPrice:
    return CoinPrice(clock, static=static, file=file.path, max_age=3600)


async def test_a_static_figure_asks_nobody(clock: FakeClock) -> None:
    part = CoinPrice(clock, static=Fraction("0.05"), file=None, max_age=1)
    await clock.advance(100)
    assert (await part.look()).code == ""
    assert part.price() == Fraction("0.05")


async def test_the_file_is_read_when_it_changes(clock: FakeClock, file: File) -> None:
    file.write("0.05\n", age=10)
    part = price(clock, file)
    await part.look()
    assert part.price() == Fraction("0.05")
    file.write("0.07", age=5)
    await part.look()
    assert part.price() == Fraction("0.07")


@pytest.mark.parametrize("text", ["", "cheap", "0", "-1", "NaN", "Infinity", "0,05", "1 2", "9" * 99 + "x", "\x00\xff"])
async def test_what_is_no_price_is_told_once_and_the_last_good_one_stays(
    clock: FakeClock, file: File, text: str
) -> None:
    file.write("0.05", age=10)
    part = price(clock, file)
    await part.look()
    file.write(text)
    with capture_logs() as logs:
        for _ in range(3):
            assert (await part.look()).code == "price.malformed"
    assert part.price() == Fraction("0.05")
    assert [line["log_level"] for line in logs] == ["error"]
    file.write("0.06")
    assert (await part.look()).code == ""
    assert part.price() == Fraction("0.06")


async def test_one_that_does_not_change_any_more_is_stale_and_stays_in_force(clock: FakeClock, file: File) -> None:
    file.write("0.05", age=3500)
    part = price(clock, file)
    assert (await part.look()).code == ""
    await clock.advance(200)
    with capture_logs() as logs:
        state = await part.look()
        await part.look()
    assert state.code == "price.stale"
    assert "has not changed since" in state.problem
    assert part.price() == Fraction("0.05")
    assert [line["event"] for line in logs] == ["coin_price_in_doubt"]
    file.write("0.05")
    assert (await part.look()).code == ""


async def test_a_file_that_is_not_there_yet_leaves_the_static_figure(clock: FakeClock, file: File) -> None:
    part = price(clock, file, Fraction("0.04"))
    assert (await part.look()).code == "price.unreadable"
    assert part.price() == Fraction("0.04")
    file.write("0.05")
    assert (await part.look()).code == ""
    file.path.unlink()
    assert (await part.look()).code == "price.unreadable"
    assert part.price() == Fraction("0.05")
    file.write("0.05")
    assert (await part.look()).code == ""
