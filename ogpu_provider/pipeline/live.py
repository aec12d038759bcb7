"""The live tasks: what each is at, what it waits for, and who is woken by what."""

import asyncio
import contextlib
from collections.abc import Iterable

from ogpu_provider.domain.resources import Lease
from ogpu_provider.domain.task import AT_WORK, TaskState
from ogpu_provider.domain.units import Address
from ogpu_provider.pipeline.driver import Driver
from ogpu_provider.pipeline.ports import Ports

FIRST_STEP_S = 0.03
"""Seconds for which what a block says of older tasks lets its new ones go ahead."""


class LiveTasks:
    """One driver for each; the conductor adds them and takes them away."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._drivers: dict[Address, Driver] = {}

    def nudge(self, task: Address) -> None:
        """Something was heard of a task: its stage is run again."""
        if driver := self._drivers.get(task):
            driver.wake.set()

    def nudge_source(self, source: Address) -> None:
        for driver in self._drivers.values():
            if driver.task.source == source:
                driver.wake.set()

    def nudge_settling(self) -> None:
        """A new head: tasks that wait for depth, and have it now, look once; then they hear from the sender."""
        head = self._ports.head.block
        deep = (head.number if head else 0) - self._ports.policy.confirmations
        for driver in self._drivers.values():
            finalized = driver.task.finalized_block
            if finalized is not None and finalized <= deep and not driver.deep:
                driver.deep = True
                driver.wake.set()

    def nudge_seen(self) -> None:
        """The operator changed his mind: all tasks that are not admitted look again."""
        for driver in self._drivers.values():
            if driver.task.state is TaskState.SEEN and driver.waiting:
                driver.wake.set()

    def nudge_first(self, of: Address | None = None) -> None:
        """There is room again: the task of each source whose turn is first looks, or that of one source.

        Tasks of a source need the same, so the others need not: a thousand that wait cost no more than one. One whose
        stage runs has perhaps looked already, so it looks once more.
        """
        queued: dict[Address, Driver] = {}
        for driver in self._drivers.values():
            task = driver.task
            if task.state is not TaskState.SEEN or of not in (None, task.source):
                continue
            if not driver.waiting:
                driver.wake.set()
            elif driver.queued:
                queued.setdefault(task.source, driver)
        for address in self._ports.scheduler.firsts(tuple(queued), self._ports.head.now(self._ports.clock)):
            first = self._drivers.get(address)
            if first is not None and first.queued:
                queued.pop(first.task.source, None)
                first.wake.set()
        for driver in queued.values():  # of whose source nobody keeps a line: who waits longest
            driver.wake.set()

    def busy(self, source: Address) -> bool:
        """Whether a task of the source is somewhere between admission and its response."""
        return any(d.task.source == source and d.task.state in AT_WORK for d in self._drivers.values())

    def leases(self) -> list[Lease]:
        """What the saved states of live tasks hold."""
        return [lease for driver in self._drivers.values() if (lease := driver.task.lease)]

    def engaged(self, source: Address) -> bool:
        """Whether a task of the source is at work, or may be soon."""
        states = {driver.task.state for driver in self._drivers.values() if driver.task.source == source}
        return TaskState.SEEN in states or bool(states & AT_WORK)

    def occupied(self, source: Address) -> bool:
        """Whether a task of the source is in its containers, or about to be."""
        inside = (TaskState.READY, TaskState.ATTEMPTED, TaskState.EXECUTING)
        return any(d.task.source == source and d.task.state in inside for d in self._drivers.values())

    def follows(self, task: Address) -> bool:
        """Whether the task is live, so that what happens to it on chain matters here."""
        return task in self._drivers

    def waits(self) -> dict[Address, str]:
        """What each live task waits for; empty while its stage runs."""
        return {address: driver.waiting for address, driver in self._drivers.items()}

    async def first_steps(self, tasks: Iterable[Address]) -> None:
        """Returns when each has made its first step or waits for something, after `FIRST_STEP_S` at the latest."""
        drivers = [self._drivers[task] for task in tasks if task in self._drivers]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_STEP_S):
                for driver in drivers:
                    await driver.moved.wait()
