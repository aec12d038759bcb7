"""The journal's twin for tests: same promises, same errors, nothing on disk."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import astuple, replace

from ogpu_provider.domain.approval import Approval
from ogpu_provider.domain.cordon import Cordon
from ogpu_provider.domain.errors import KnownIntent, StaleRow, StoreError
from ogpu_provider.domain.facts import Block
from ogpu_provider.domain.intent import Effect, GasUsed, Intent, IntentRow, IntentState, SignedTx
from ogpu_provider.domain.learnt import Key, Learnt
from ogpu_provider.domain.source import ServedSource
from ogpu_provider.domain.task import JournalLine, ResultOutcome, Task, TaskState, Transition
from ogpu_provider.domain.units import Address, Hash, Wei
from ogpu_provider.domain.wish import Wish
from ogpu_provider.store import moves
from ogpu_provider.store.reader import RUNS


class MemoryStore:
    """Implements `Journal` and `Outbox`, and the reader's questions that tests ask."""

    def __init__(self) -> None:
        self._cursor: tuple[int, Hash] | None = None
        self._tasks: dict[Address, Task] = {}
        self._lines: list[JournalLine] = []
        self._results: dict[Address, bytes] = {}
        self._result_times: dict[Address, float] = {}
        self._sources: dict[Address, ServedSource] = {}
        self._intents: dict[str, IntentRow] = {}
        self._signed: dict[Hash, SignedTx] = {}
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

    async def cursor(self) -> tuple[int, Hash] | None:
        return self._cursor

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

    async def intent(self, key: str) -> IntentRow | None:
        return self._intents.get(key)

    async def intents_of(self, subject: Address) -> list[IntentRow]:
        return [row for row in self._intents.values() if row.intent.subject == subject]

    async def plan(self, intent: Intent, *, at: float) -> bool:
        if intent.key in self._intents:
            return False
        self._intents[intent.key] = IntentRow(intent, IntentState.PLANNED, planned_at=at, updated_at=at)
        return True

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

    async def open_intents(self) -> list[IntentRow]:
        return [row for row in self._intents.values() if row.state.open]

    async def planned_intents(self) -> list[IntentRow]:
        return [row for row in self._intents.values() if row.state is IntentState.PLANNED]

    async def signed(self, key: str) -> list[SignedTx]:
        return [tx for tx in self._signed.values() if tx.intent_key == key]

    async def put_signed(self, *txs: SignedTx) -> None:
        before = dict(self._intents), dict(self._signed)
        try:
            for tx in txs:
                self._put_signed(tx)
        except StoreError:
            self._intents, self._signed = before
            raise

    def _put_signed(self, tx: SignedTx) -> None:
        row = self._intent(tx.intent_key)
        other = next((t for t in self._signed.values() if t.nonce == tx.nonce and t.intent_key != tx.intent_key), None)
        if other is not None:
            raise StoreError(f"nonce {tx.nonce} carries {other.intent_key}", code="store.nonce_taken")
        moved = moves.move(row, IntentState.SIGNED, at=tx.signed_at, tx_hash=tx.hash)
        self._signed.setdefault(tx.hash, tx)
        self._intents[tx.intent_key] = replace(moved, nonce=tx.nonce)

    async def set_state(
        self,
        key: str,
        state: IntentState,
        *,
        at: float,
        tx_hash: Hash | None = None,
        block_number: int | None = None,
        block_hash: Hash | None = None,
        gas_used: int | None = None,
        fee_paid: Wei | None = None,
    ) -> IntentRow:
        moved = moves.move(
            self._intent(key),
            state,
            at=at,
            tx_hash=tx_hash,
            block_number=block_number,
            block_hash=block_hash,
            gas_used=gas_used,
            fee_paid=fee_paid,
        )
        self._intents[key] = moved
        return moved

    async def highest_nonce(self) -> int | None:
        return max((tx.nonce for tx in self._signed.values()), default=None)

    async def signed_at(self, nonce: int) -> list[SignedTx]:
        return [tx for tx in self._signed.values() if tx.nonce == nonce]

    async def paid_since(self, at: float) -> list[tuple[float, Wei]]:
        minutes: dict[int, tuple[float, Wei]] = {}
        for row, used, tx in self._paid():
            if row.updated_at >= at:
                before = minutes.get(int(row.updated_at // 60), (0.0, 0))[1]
                fee = used * tx.max_fee if row.fee_paid is None else row.fee_paid
                minutes[int(row.updated_at // 60)] = row.updated_at, before + fee
        return list(minutes.values())

    async def gas_used(self, last: int) -> list[GasUsed]:
        alike: dict[tuple[Effect, int, bool], list[int]] = {}
        for row, used, tx in self._paid()[-last:]:
            if not tx.void:
                alike.setdefault((row.intent.effect, tx.gas, row.state is IntentState.CONFIRMED), []).append(used)
        return [GasUsed(*kind, max(used), len(used)) for kind, used in sorted(alike.items())]

    def _paid(self) -> list[tuple[IntentRow, int, SignedTx]]:
        found = [
            (row, row.gas_used, self._signed[row.tx_hash])
            for row in self._intents.values()
            if not row.state.open and row.gas_used is not None and row.tx_hash in self._signed
        ]
        return sorted(found, key=lambda one: one[0].updated_at)

    async def intent_of(self, tx_hash: Hash) -> IntentRow | None:
        tx = self._signed.get(tx_hash)
        return None if tx is None else self._intents[tx.intent_key]

    async def intents_among(self, hashes: Collection[Hash]) -> dict[Hash, IntentRow]:
        return {one: self._intents[self._signed[one].intent_key] for one in hashes if one in self._signed}

    def _intent(self, key: str) -> IntentRow:
        row = self._intents.get(key)
        if row is None:
            raise StoreError(f"no intent {key}", code="store.no_intent")
        return row

    def _replace(self, before: Task, after: Task) -> None:
        row = self._tasks.get(before.address)
        if row is None:
            raise StoreError(f"no task {before.address}", code="store.no_task")
        if (row.version, row.state) != (before.version, before.state):
            raise StaleRow(f"{row.address} is {row.state} v{row.version}, not {before.state} v{before.version}")
        self._tasks[before.address] = after
