"""Keeps the interpreter's pauses short: what a start leaves behind lives as long as the process."""

import gc

from ogpu_provider.domain.clock import Clock

STARTED_S = 20.0
"""Seconds after which what was imported and built at the start is there."""


async def spare_the_start(clock: Clock) -> None:
    """Look through everything once more, and never again: the collector would do it now and then, for 50 ms each time,
    which may be in the midst of a race. What comes after is looked through as before."""
    await clock.sleep(STARTED_S)
    gc.collect()
    gc.freeze()
