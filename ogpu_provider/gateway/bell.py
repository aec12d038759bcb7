"""Something has changed: wakes everybody who waits for it, and those who look up just now do not miss it."""

import asyncio
from contextlib import suppress


class Bell:
    """Read `heard`, look, then `wait(heard)`: a ring between the two ends the wait at once."""

    def __init__(self) -> None:
        self.heard = 0
        self._next = asyncio.Event()

    def ring(self) -> None:
        self.heard += 1
        self._next.set()
        self._next = asyncio.Event()

    async def wait(self, heard: int, seconds: float) -> None:
        """Until it has rung more than `heard` times, `seconds` at most."""
        if self.heard == heard:
            with suppress(TimeoutError):  # `wait_for` of Python 3.11 loses a cancellation that comes with the ring
                async with asyncio.timeout(seconds):
                    await self._next.wait()
