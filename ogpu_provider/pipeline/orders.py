"""What the operator asks for while the daemon runs: pause, resume, drain. Written down before it is done.

A pause holds over restarts until `resume`. A drain does so until it is over: a crash in the middle of one goes on
draining, and the start after it takes tasks again.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from ogpu_provider.domain.intent import IntentState
from ogpu_provider.domain.task import AT_WORK, TaskState
from ogpu_provider.domain.wish import Want, Wish
from ogpu_provider.pipeline.conductor import Conductor
from ogpu_provider.pipeline.ports import Ports

log = structlog.get_logger()

LOOK_S = 0.5
"""Seconds between two looks at what a drain still waits for."""

_UNSETTLED = frozenset({IntentState.PLANNED, IntentState.SIGNED, IntentState.SENT})


@dataclass(frozen=True, slots=True)
class Left:
    """What a drain waits for: tasks that are ours to do, transactions that are not in a block, and sources whose
    registration is to be undone: its transaction is planned only when the project is down."""

    tasks: int
    transactions: int
    sources: int = 0

    @property
    def none(self) -> bool:
        return not (self.tasks or self.transactions or self.sources)


class Orders:
    """Raises StoreError where an order could not be written down; then it does not hold.

    `leaving`: how many sources are registered still that the operator wants to be rid of.
    """

    def __init__(self, ports: Ports, conductor: Conductor, leaving: Callable[[], int]) -> None:
        self._ports = ports
        self._conductor = conductor
        self._leaving = leaving
        self._draining = asyncio.Event()
        self._since: dict[Want, float] = {}

    @property
    def paused_since(self) -> float | None:
        """Unix seconds."""
        return self._since.get(Want.PAUSE)

    @property
    def draining_since(self) -> float | None:
        return self._since.get(Want.DRAIN)

    async def restore(self) -> None:
        """Take up what was asked for before a restart. Before any task is driven."""
        for wish in await self._ports.journal.wishes():
            if wish.want in (Want.PAUSE, Want.DRAIN):
                self._since[wish.want] = wish.at
        self._apply()
        if self._since:
            log.warning("orders_hold", orders=sorted(self._since), remedy="`ogpu-provider resume` takes them back")

    async def pause(self) -> None:
        await self._give(Want.PAUSE)

    async def drain(self) -> None:
        await self._give(Want.DRAIN)

    async def resume(self) -> None:
        """Take tasks again; a drain that is not over yet is called off."""
        for want in (Want.PAUSE, Want.DRAIN):
            await self._take_back(want)
        log.info("provider_resumed")

    async def left(self) -> Left:
        tasks = await self._ports.journal.live()
        unsent = [row for row in await self._ports.journal.open_intents() if row.state in _UNSETTLED]
        owed = [task for task in tasks if task.state in AT_WORK or task.state is TaskState.SEEN]
        return Left(len(owed), len(unsent), self._leaving())

    async def drained(self) -> None:
        """Returns when a drain was asked for and nothing is left to do. The next start does not find the order; this
        run keeps to it to its last moment, and says so to whoever asks meanwhile.
        """
        while True:
            await self._draining.wait()
            if (await self.left()).none and self._draining.is_set():
                await self._ports.journal.unwish(str(Want.DRAIN))
                log.info("provider_drained")
                return
            await self._ports.clock.sleep(LOOK_S)

    async def _give(self, want: Want) -> None:
        if want in self._since:
            return
        wish = Wish(str(want), want, self._ports.clock.now())
        await self._ports.journal.wish(wish)
        self._since[want] = wish.at
        self._apply()
        self._conductor.nudge_seen()
        log.warning(f"provider_{want}", remedy="`ogpu-provider resume` takes it back")

    async def _take_back(self, want: Want) -> None:
        await self._ports.journal.unwish(str(want))
        self._since.pop(want, None)
        self._apply()

    def _apply(self) -> None:
        self._ports.book.paused = bool(self._since)
        if Want.DRAIN in self._since:
            self._draining.set()
        else:
            self._draining.clear()
