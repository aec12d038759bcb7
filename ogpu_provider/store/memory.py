"""The journal's twin for tests: same promises, same errors, nothing on disk. Of the outbox: `memory_outbox`."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import astuple, replace

from ogpu_provider.domain.approval import Approval
from ogpu_provider.domain.cordon import Cordon
from ogpu_provider.domain.errors import KnownIntent, StaleRow, StoreError
from ogpu_provider.domain.facts import Block
from ogpu_provider.domain.intent import SignedTx
from ogpu_provider.domain.learnt import Key, Learnt
from ogpu_provider.domain.source import ServedSource
from ogpu_provider.domain.task import JournalLine, ResultOutcome, Task, TaskState, Transition
from ogpu_provider.domain.units import Address
from ogpu_provider.domain.wish import Wish
from ogpu_provider.store import moves
from ogpu_provider.store.memory_outbox import MemoryOutbox
from ogpu_provider.store.reader import RUNS


class MemoryStore(MemoryOutbox):
    """Implements `Journal` and `Outbox`, and the reader's questions that tests ask."""

    def __init__(self) -> None:
        super().__init__()
        self._tasks: dict[Address, Task] = {}
        self._lines: list[JournalLine] = []
        self._results: dict[Address, bytes] = {}
        self._result_times: dict[Address, float] = {}
        self._sources: dict[Address, ServedSource] = {}
        self._wishes: dict[str, Wish] = {}
        self._approvals: dict[Address, Approval] = {}
        self._learnt: dict[Key, Learnt] = {}
        self._cordons: list[Cordon] = []

    async def close(self) -> None: ...

    async def insert(self, tasks: Sequence[Task], cursor: Block | None = None) -> list[Task]:
        new = []
        for task in tasks:
            if task.address not in self._tasks:
                self._tasks[task.address] = task
                self._lines.append(moves.first_line(task))
                new.append(task)
        if cursor is not None:
            self._cursor = (cursor.number, cursor.hash)
        return new

    async def task(self, address: Address) -> Task | None:
        return self._tasks.get(address)

    async def live(self) -> list[Task]:
        return [task for task in self._tasks.values() if not task.state.over]

    async def touched_above(self, block: int) -> list[Task]:
        return [
            task
            for task in self._tasks.values()
            if task.seen_block > block
            or (task.finalized_block or 0) > block
            or task.state in (TaskState.SUBMITTED, TaskState.RESPONDED)
        ]

    async def tasks(
        self,
        *,
        states: Collection[TaskState] = (),
        source: Address | None = None,
        since: float | None = None,
        limit: int = 100,
    ) -> list[Task]:
        found = [
            task
            for task in reversed(self._tasks.values())
            if (not states or task.state in states)
            and source in (None, task.source)
            and (since is None or task.updated_at >= since)
        ]
        return found[:limit]

    async def counts(self) -> dict[TaskState, int]:
        counts: dict[TaskState, int] = {}
        for task in self._tasks.values():
            counts[task.state] = counts.get(task.state, 0) + 1
        return counts

    async def save(self, task: Task, *steps: Transition, at: float, boot: str, signed: Sequence[SignedTx] = ()) -> Task:
        known = [step.intent.key for step in steps if step.intent is not None and step.intent.key in self._intents]
        if signed and known:
            raise KnownIntent(f"{known[0]} is planned already")
        moved, lines = task, list[JournalLine]()
        for step in steps:
            moved, line = moves.advance(moved, step, at=at, boot=boot)
            lines.append(line)
        before, intents = self._tasks.get(task.address), dict(self._intents) if signed else self._intents
        self._replace(task, moved)
        for step in steps:
            if step.intent is not None:
                await self.plan(step.intent, at=at)
        try:
            await self.put_signed(*signed)
        except StoreError:
            assert before is not None
            self._tasks[task.address], self._intents = before, intents
            raise
        self._lines += lines
        return moved

    async def amend(self, task: Task, changes: Mapping[str, object], *, at: float) -> Task:
        amended = moves.amend(task, changes, at=at)
        self._replace(task, amended)
        return amended

    async def history(self, task: Address) -> list[JournalLine]:
        return [line for line in self._lines if line.task == task]

    async def lines(self, after: int = 0, *, limit: int = 1000) -> list[tuple[int, JournalLine]]:
        return list(enumerate(self._lines, 1))[after : after + limit]

    async def put_result(self, task: Address, body: bytes, *, at: float) -> ResultOutcome:
        kept = self._results.get(task)
        if kept is not None:
            return ResultOutcome.SAME if kept == body else ResultOutcome.CONFLICT
        row = self._tasks.get(task)
        if row is None:
            return ResultOutcome.UNKNOWN
        if row.state.over:
            return ResultOutcome.LATE
        self._results[task], self._result_times[task] = body, at
        return ResultOutcome.STORED

    async def result(self, task: Address) -> bytes | None:
        return self._results.get(task)

    async def longest_run(self, source: Address, function: str) -> float | None:
        runs = [
            max(self._result_times[task.address] - task.accepted_at, 0)
            for task in self._tasks.values()
            if (task.source, task.function) == (source, function)
            and task.accepted_at > 0
            and task.address in self._result_times
        ]
        return max(runs[-RUNS:], default=None)

    async def sources(self) -> list[ServedSource]:
        return list(self._sources.values())

    async def save_source(self, source: ServedSource) -> None:
        self._sources[source.address] = source

    async def wishes(self) -> list[Wish]:
        return sorted(self._wishes.values(), key=lambda wish: (wish.at, wish.subject))

    async def wish(self, wish: Wish) -> None:
        self._wishes[wish.subject] = wish

    async def approval(self, source: Address) -> Approval | None:
        return self._approvals.get(source)

    async def approve(self, approval: Approval) -> None:
        self._approvals[approval.source] = approval

    async def learnt(self) -> list[Learnt]:
        return sorted(self._learnt.values(), key=lambda learnt: astuple(learnt.key))

    async def keep_learnt(self, facts: Sequence[Learnt]) -> None:
        known = self._learnt | {learnt.key: learnt for learnt in facts}
        self._learnt = {key: learnt for key, learnt in known.items() if learnt.samples}

    async def cordons(self, *, lifted: bool = False) -> list[Cordon]:
        return [cordon for cordon in self._cordons if lifted or cordon.lifted_at is None]

    async def cordon(self, cordon: Cordon) -> None:
        if all(other.card != cordon.card for other in await self.cordons()):
            self._cordons.append(cordon)

    async def uncordon(self, card: str, *, at: float, by: str) -> None:
        for place, cordon in enumerate(self._cordons):
            if cordon.card == card and cordon.lifted_at is None:
                self._cordons[place] = replace(cordon, lifted_at=at, lifted_by=by)

    async def unwish(self, subject: str) -> None:
        self._wishes.pop(subject, None)

    def _replace(self, before: Task, after: Task) -> None:
        row = self._tasks.get(before.address)
        if row is None:
            raise StoreError(f"no task {before.address}", code="store.no_task")
        if (row.version, row.state) != (before.version, before.state):
            raise StaleRow(f"{row.address} is {row.state} v{row.version}, not {before.state} v{before.version}")
        self._tasks[before.address] = after
