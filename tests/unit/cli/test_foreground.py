"""Work in the foreground ends in order when it is told to."""

import asyncio
import os
import signal

import pytest

from ogpu_provider.cli.foreground import until_stopped


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_cancels_the_work_and_waits_for_its_end(number: signal.Signals) -> None:
    ended = []

    async def work() -> str:
        try:
            os.kill(os.getpid(), number)
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(number)
        return "never"

    assert await until_stopped(work()) is None
    assert ended == [number]


async def test_work_that_ends_by_itself_gives_its_outcome_or_its_error() -> None:
    async def good() -> int:
        return 7

    async def bad() -> int:
        raise ValueError("x")

    assert await until_stopped(good()) == 7
    with pytest.raises(ValueError, match="x"):
        await until_stopped(bad())
