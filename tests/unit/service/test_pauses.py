"""The collector leaves alone what was there after the start, and nothing else."""

import asyncio
import gc
import weakref

from ogpu_provider.service.pauses import STARTED_S, spare_the_start
from tests.fakes.clock import FakeClock, settle


class Knot:
    def __init__(self) -> None:
        self.itself = self


async def test_what_was_there_is_not_looked_through_again_and_what_comes_later_is() -> None:
    clock = FakeClock()
    before = gc.get_freeze_count()
    spared = asyncio.ensure_future(spare_the_start(clock))
    try:
        await clock.advance(STARTED_S - 1)
        assert gc.get_freeze_count() == before
        await clock.advance(1)
        await spared
        assert gc.get_freeze_count() > before
        knot = weakref.ref(Knot())
        await settle()
        gc.collect()
        assert knot() is None
    finally:
        gc.unfreeze()
