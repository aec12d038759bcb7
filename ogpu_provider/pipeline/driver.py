"""One live task as its loop sees it: the newest saved row, and what the loop waits for."""

import asyncio

from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.task import Task
from ogpu_provider.domain.together import begin

_LONGEST = 86_400.0  # seconds; what is further away is looked at again then


class Driver:
    """`waiting` says what the task waits for, empty while a stage runs; `queued`: for room. `called_at` (unix seconds):
    before its container was called last, None where an earlier process did. `deep`: whether it was told that
    the block of its payment is deep enough. `stored`: set once its row is in the journal; `moved`: once its first stage
    was done and what came of it was saved. `loop`: what runs its stages."""

    __slots__ = ("called_at", "deep", "loop", "moved", "queued", "stored", "task", "waiting", "wake")

    def __init__(self, task: Task) -> None:
        self.task = task
        self.wake = asyncio.Event()
        self.stored = asyncio.Event()
        self.moved = asyncio.Event()
        self.loop: asyncio.Task[None] | None = None
        self.waiting = ""
        self.queued = False
        self.called_at: float | None = None
        self.deep = False

    def note(self, row: Task) -> None:
        """A row that was saved, or read. Rows only get newer."""
        self.moved.set()
        if row.version >= self.task.version:
            if row.finalized_block != self.task.finalized_block:
                self.deep = False
            self.task = row

    async def wait(self, seconds: float, clock: Clock, group: asyncio.TaskGroup) -> None:
        """Until nudged, or for so long."""
        self.moved.set()
        if seconds <= 0:
            return
        if seconds == float("inf"):
            await self.wake.wait()
            return
        alarm = begin(group, self._ring(min(seconds, _LONGEST), clock), name=f"alarm {self.task.address}")
        try:
            await self.wake.wait()
        finally:
            alarm.cancel()

    async def _ring(self, seconds: float, clock: Clock) -> None:
        await clock.sleep(seconds)
        self.wake.set()
