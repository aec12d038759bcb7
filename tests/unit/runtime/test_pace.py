"""How slow a sender may be, with a clock that jumps."""

import asyncio
from contextlib import suppress

import pytest

from ogpu_provider.runtime.callback.exchange import Pace
from tests.fakes.loop import run

WINDOW, PACE = 6.0, 1000


async def lasts(*parts: tuple[float, int]) -> tuple[float, int]:
    """Seconds and bytes until a sender of (pause, bytes) is done or cut; endless after the last part."""
    reader = asyncio.StreamReader(limit=1 << 20)

    async def send() -> None:
        for pause, size in parts:
            await asyncio.sleep(pause)
            reader.feed_data(b"x" * size)

    pace, got = Pace(reader, WINDOW, PACE), 0
    sending = asyncio.create_task(send())
    with suppress(TimeoutError):
        while True:
            got += len(await pace.read())
    sending.cancel()
    return asyncio.get_running_loop().time(), got


def test_silence_is_cut_after_one_window() -> None:
    assert run(lasts((1e9, 0))) == (6.0, 0)


@pytest.mark.parametrize("each", [(0.1, 1), (0.5, 10), (5.9, 5999)])
def test_a_drip_is_cut_after_one_window_however_it_drips(each: tuple[float, int]) -> None:
    assert run(lasts(*[each] * 500))[0] == pytest.approx(6.0)


def test_a_sender_that_keeps_the_pace_has_its_time() -> None:
    seconds, got = run(lasts(*[(0.5, 700)] * 200, (1e9, 0)))
    assert got == 140_000
    assert 100 < seconds <= 112


def test_whatever_was_sent_before_a_drip_is_cut_within_two_windows() -> None:
    for before in range(60):
        seconds, _ = run(lasts((before / 10, 1_000_000), *[(0.1, 1)] * 500))
        assert seconds <= before / 10 + 12.0
