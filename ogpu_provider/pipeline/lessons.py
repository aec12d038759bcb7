"""Keeps what is learnt: in memory at once, for who decides; in the journal soon after."""

from collections.abc import Iterable

import structlog

from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.errors import ProviderError
from ogpu_provider.domain.intent import IntentRow
from ogpu_provider.domain.learnt import Fact, Key, Knowledge, Learnt
from ogpu_provider.domain.task import Task, TaskState
from ogpu_provider.domain.units import Address
from ogpu_provider.pipeline.journal import Journal

log = structlog.get_logger()

PAUSE_S = 5.0
"""Seconds in which samples are gathered for one write; a crash forgets no more."""


class Lessons:
    """`knowledge` is what the scheduler reads. `learn` never waits and never fails: a lesson is not worth a task."""

    def __init__(self, journal: Journal, clock: Clock, knowledge: Knowledge) -> None:
        self._journal = journal
        self._clock = clock
        self._unwritten: dict[Key, Learnt] = {}
        self._produced: dict[Address, float] = {}
        self.knowledge = knowledge

    async def restore(self) -> None:
        """Read what earlier runs learnt. Before `run`."""
        for learnt in await self._journal.learnt():
            self.knowledge.put(learnt)

    async def run(self) -> None:
        """Write what is new, every few seconds. A service."""
        while True:
            await self._clock.sleep(PAUSE_S)
            await self.write()

    async def write(self) -> None:
        """What cannot be written now is written with what comes later."""
        facts, self._unwritten = self._unwritten, {}
        if not facts:
            return
        try:
            await self._journal.keep_learnt(list(facts.values()))
        except ProviderError as error:
            self._unwritten = facts | self._unwritten
            log.warning("lessons_not_kept_yet", code=error.code, error=str(error))

    def learn(self, fact: Fact, value: float, subject: str = "", aspect: str = "") -> None:
        """One more sample; what cannot have been measured (a clock that was set back) is left out."""
        key = Key(fact, subject, aspect)
        try:
            self._unwritten[key] = self.knowledge.add(key, value, at=self._clock.now())
        except ValueError:
            log.debug("lesson_left_out", fact=fact, subject=subject, aspect=aspect, value=value)

    def peak(self, image: str, card: str, memory: int) -> None:
        """Bytes that an image's containers take of a card; only a new peak is a lesson."""
        known = self.knowledge.highest(Fact.PEAK_MEMORY, image, card)
        if known is None or memory > known:
            self.learn(Fact.PEAK_MEMORY, memory, image, card)

    def forget(self, keys: Iterable[Key]) -> None:
        """What counts for nothing any more."""
        for key in keys:
            self.knowledge.forget(key)
            self._unwritten[key] = Learnt(key)

    def moved(self, task: Task, before: TaskState) -> None:
        """A task made a step: how long it ran, from the container's word that it took the call to the result; how long
        publishing took; whether it was paid.
        """
        if before is TaskState.EXECUTING and task.state is TaskState.PRODUCED:
            self._produced[task.address] = task.updated_at
            if task.accepted_at > 0:
                self.learn(Fact.RUN, task.updated_at - task.accepted_at, task.source, task.function)
        elif before is TaskState.PRODUCED:
            began = self._produced.pop(task.address, None)
            if began is not None and task.state is TaskState.PINNED:
                self.learn(Fact.PIN, task.updated_at - began)
        elif before in (TaskState.SUBMITTED, TaskState.RESPONDED) and task.state.over:
            self.learn(Fact.WON, float(task.state is TaskState.SETTLED), task.source)

    def paid(self, row: IntentRow) -> None:
        """A transaction of ours came to its end, and cost a fee unless it was never in a block."""
        if row.fee_paid is not None:
            self.learn(Fact.GAS, row.fee_paid, row.intent.effect)

    def pulled(self, rate: float) -> None:
        """An image is there: compressed bytes a second that its download and unpacking came to."""
        self.learn(Fact.PULL_RATE, rate)

    def started(self, source: Address, seconds: float) -> None:
        """A source's containers answered, so many seconds after they were made."""
        self.learn(Fact.COLD_START, seconds, source)
