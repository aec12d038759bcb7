"""Time that moves only when a test says so, or that moves fast."""

import asyncio
import heapq
import itertools
import time


class FakeClock:
    """`advance` wakes sleepers in order, letting each run before the next."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self._now = now
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = itertools.count()

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._count), waiter))
        await waiter

    async def advance(self, seconds: float) -> None:
        end = self._now + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            at, _, waiter = heapq.heappop(self._sleepers)
            self._now = max(self._now, at)
            if not waiter.done():
                waiter.set_result(None)
            await settle()
        self._now = end
        await settle()

    async def leap(self, seconds: float) -> None:
        """A long time passes at once: who is due wakes once, at its end."""
        await settle()
        self._now += seconds
        await self.advance(0)


IDLE_ROUNDS = 3


async def settle(rounds: int = 60) -> None:
    """Let everything that can run without time passing run, for `rounds` turns of the loop at most."""
    ready = getattr(asyncio.get_running_loop(), "_ready", (None,))  # callbacks that wait for this turn
    idle = 0
    for _ in range(rounds):
        await asyncio.sleep(0)
        idle = 0 if ready else idle + 1
        if idle == IDLE_ROUNDS:
            return


class BriskClock:
    """The machine's time for tests with a real node: wall time as it is, pauses `times` shorter than asked for."""

    def __init__(self, times: float = 200.0) -> None:
        self._times = times

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic() * self._times

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self._times)
