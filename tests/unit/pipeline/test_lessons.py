from collections.abc import Sequence
from dataclasses import replace

from ogpu_provider.domain.errors import StoreError
from ogpu_provider.domain.learnt import Fact, Key, Knowledge, Learnt
from ogpu_provider.domain.task import Task, TaskState
from ogpu_provider.domain.units import Address
from ogpu_provider.pipeline.lessons import Lessons
from ogpu_provider.store.memory import MemoryStore
from tests.fakes.clock import FakeClock

SOURCE = Address("0x" + "50" * 20)
DONE = Task(Address("0x01"), SOURCE, TaskState.PRODUCED, 1, 0.0, updated_at=12.5, accepted_at=10.0, function="f")


class BusyStore(MemoryStore):
    """A journal whose disk is busy once."""

    busy = True

    async def keep_learnt(self, facts: Sequence[Learnt]) -> None:
        if self.busy:
            self.busy = False
            raise StoreError("busy", code="store.busy")
        await super().keep_learnt(facts)


async def test_what_was_learnt_is_known_at_once_and_after_a_restart() -> None:
    store = MemoryStore()
    lessons = Lessons(store, FakeClock(), Knowledge())
    lessons.moved(DONE, TaskState.EXECUTING)
    lessons.started(SOURCE, 4.0)
    assert lessons.knowledge.quantile(1.0, Fact.RUN, SOURCE, "f") == 2.5
    await lessons.write()
    again = Lessons(store, FakeClock(), Knowledge())
    await again.restore()
    assert again.knowledge.all() == sorted(lessons.knowledge.all(), key=lambda learnt: learnt.key.fact)


async def test_a_busy_disk_forgets_nothing() -> None:
    store = BusyStore()
    lessons = Lessons(store, FakeClock(), Knowledge())
    lessons.started(SOURCE, 4.0)
    await lessons.write()
    assert await store.learnt() == []
    lessons.started(SOURCE, 6.0)
    await lessons.write()
    assert [learnt.recent for learnt in await store.learnt()] == [(4.0, 6.0)]


def test_only_a_finished_run_that_was_accepted_is_a_sample() -> None:
    lessons = Lessons(MemoryStore(), FakeClock(), Knowledge())
    lessons.moved(DONE, TaskState.PRODUCED)
    lessons.moved(Task(Address("0x02"), SOURCE, TaskState.PRODUCED, 1, 0.0, updated_at=3.0), TaskState.EXECUTING)
    lessons.moved(Task(Address("0x03"), SOURCE, TaskState.FAILED, 1, 0.0, accepted_at=1.0), TaskState.EXECUTING)
    lessons.started(SOURCE, -1.0)
    assert lessons.knowledge.all() == []


def test_only_a_new_peak_is_a_lesson() -> None:
    lessons = Lessons(MemoryStore(), FakeClock(), Knowledge())
    for memory in (5, 9, 9, 3):
        lessons.peak("sha256:aa", "card", memory)
    found = lessons.knowledge.get(Fact.PEAK_MEMORY, "sha256:aa", "card")
    assert found is not None
    assert found.recent == (5, 9)


def test_how_long_publishing_takes_and_whether_it_was_paid() -> None:
    lessons = Lessons(MemoryStore(), FakeClock(), Knowledge())
    lessons.moved(DONE, TaskState.EXECUTING)
    lessons.moved(replace(DONE, state=TaskState.PINNED, updated_at=13.25), TaskState.PRODUCED)
    for state in (TaskState.SETTLED, TaskState.LOST, TaskState.EXPIRED, TaskState.RESPONDED):
        lessons.moved(replace(DONE, state=state), TaskState.SUBMITTED)
    assert lessons.knowledge.quantile(1.0, Fact.PIN) == 0.75
    found = lessons.knowledge.get(Fact.WON, SOURCE)
    assert found is not None
    assert found.recent == (1, 0, 0)


async def test_what_is_forgotten_is_forgotten_in_the_journal_too() -> None:
    store = MemoryStore()
    lessons = Lessons(store, FakeClock(), Knowledge())
    lessons.learn(Fact.FAILED, 1.0, SOURCE)
    lessons.started(SOURCE, 2.0)
    await lessons.write()
    lessons.forget([Key(Fact.FAILED, SOURCE)])
    await lessons.write()
    assert [learnt.key.fact for learnt in await store.learnt()] == [Fact.COLD_START]
    assert lessons.knowledge.get(Fact.FAILED, SOURCE) is None
