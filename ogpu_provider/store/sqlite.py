"""The journal and the outbox in one SQLite file, so that a step and its transaction commit together."""

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from ogpu_provider.domain.approval import Approval
from ogpu_provider.domain.cordon import Cordon
from ogpu_provider.domain.errors import KnownIntent, StaleRow, StoreError
from ogpu_provider.domain.facts import Block
from ogpu_provider.domain.intent import SignedTx
from ogpu_provider.domain.learnt import Learnt
from ogpu_provider.domain.source import ServedSource
from ogpu_provider.domain.task import JournalLine, ResultOutcome, Task, TaskState, Transition
from ogpu_provider.domain.units import Address
from ogpu_provider.domain.wish import Wish
from ogpu_provider.store import moves
from ogpu_provider.store.database import Database
from ogpu_provider.store.outbox import OutboxWriter, add, claim, insert_sql, plan_intent, put_cursor, put_signed
from ogpu_provider.store.reader import SqliteReader
from ogpu_provider.store.rows import (
    TASK_COLUMNS,
    approval_values,
    cordon_values,
    learnt_values,
    line_values,
    source_values,
    task_values,
    wish_values,
)

Connection = sqlite3.Connection


class SqliteStore(OutboxWriter, SqliteReader):
    """Implements `Journal` and `Outbox`. Every method may raise StoreError; see `open` for the file's promises."""

    @classmethod
    async def open(cls, path: Path, *, chain_id: int, provider: Address) -> Self:
        """Open or create the journal of one provider on one chain: file mode 0600, one writer at a time.

        Raises StoreError with code store.other_chain, store.other_provider, store.newer_schema, store.locked,
        store.corrupt, store.foreign_file or store.unreadable.
        """
        database = Database(path, readonly=False)
        await database.open()
        try:
            await database.write(lambda c: claim(c, path, chain_id, "provider", provider))
        except BaseException:
            await database.close()
            raise
        return cls(database)

    async def note(self, key: str, text: str) -> None:
        """Keep a line about this journal among its `meta`."""
        sql = "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)"
        await self._database.write(lambda c: c.execute(sql, (key, text)))

    async def insert(self, tasks: Sequence[Task], cursor: Block | None = None) -> list[Task]:
        def work(connection: Connection) -> list[Task]:
            new = [task for task in tasks if _add_task(connection, task)]
            if cursor is not None:
                put_cursor(connection, cursor)
            return new

        return await self._database.write(work)

    async def save(self, task: Task, *steps: Transition, at: float, boot: str, signed: Sequence[SignedTx] = ()) -> Task:
        moved, lines = task, list[JournalLine]()
        for step in steps:
            moved, line = moves.advance(moved, step, at=at, boot=boot)
            lines.append(line)

        def work(connection: Connection) -> Task:
            _update_task(connection, task, moved)
            for line, step in zip(lines, steps, strict=True):
                add(connection, "journal", line_values(line))
                if step.intent is not None and not plan_intent(connection, step.intent, at) and signed:
                    raise KnownIntent(f"{step.intent.key} is planned already")
            for tx in signed:
                put_signed(connection, tx)
            return moved

        return await self._database.write(work)

    async def amend(self, task: Task, changes: Mapping[str, object], *, at: float) -> Task:
        amended = moves.amend(task, changes, at=at)
        await self._database.write(lambda c: _update_task(c, task, amended))
        return amended

    async def put_result(self, task: Address, body: bytes, *, at: float) -> ResultOutcome:
        def work(connection: Connection) -> ResultOutcome:
            kept = connection.execute("SELECT body FROM results WHERE task = ?", (task,)).fetchone()
            if kept is not None:
                return ResultOutcome.SAME if kept["body"] == body else ResultOutcome.CONFLICT
            row = connection.execute("SELECT state FROM tasks WHERE address = ?", (task,)).fetchone()
            if row is None:
                return ResultOutcome.UNKNOWN
            if TaskState(row["state"]).over:
                return ResultOutcome.LATE
            add(connection, "results", {"task": task, "body": body, "at": at})
            return ResultOutcome.STORED

        return await self._database.write(work)

    async def save_source(self, source: ServedSource) -> None:
        values = source_values(source)
        update = ", ".join(f"{name} = excluded.{name}" for name in values if name != "address")
        sql = insert_sql("sources", values) + f" ON CONFLICT (address) DO UPDATE SET {update}"
        await self._database.write(lambda c: c.execute(sql, tuple(values.values())))

    async def wish(self, wish: Wish) -> None:
        values = wish_values(wish)
        sql = insert_sql("wishes", values, "OR REPLACE")
        await self._database.write(lambda c: c.execute(sql, tuple(values.values())))

    async def approve(self, approval: Approval) -> None:
        values = approval_values(approval)
        sql = insert_sql("approvals", values, "OR REPLACE")
        await self._database.write(lambda c: c.execute(sql, tuple(values.values())))

    async def unwish(self, subject: str) -> None:
        await self._database.write(lambda c: c.execute("DELETE FROM wishes WHERE subject = ?", (subject,)))

    async def keep_learnt(self, facts: Sequence[Learnt]) -> None:
        def work(connection: Connection) -> None:
            for fact in facts:
                if fact.samples == 0:
                    sql = "DELETE FROM learnt WHERE fact = ? AND subject = ? AND aspect = ?"
                    connection.execute(sql, (fact.key.fact, fact.key.subject, fact.key.aspect))
                    continue
                values = learnt_values(fact)
                connection.execute(insert_sql("learnt", values, "OR REPLACE"), tuple(values.values()))

        await self._database.write(work)

    async def cordon(self, cordon: Cordon) -> None:
        values = cordon_values(cordon)
        await self._database.write(
            lambda c: c.execute(insert_sql("cordons", values, "OR IGNORE"), tuple(values.values()))
        )

    async def uncordon(self, card: str, *, at: float, by: str) -> None:
        sql = "UPDATE cordons SET lifted_at = ?, lifted_by = ? WHERE card = ? AND lifted_at IS NULL"
        await self._database.write(lambda c: c.execute(sql, (at, by, card)))


def _add_task(connection: Connection, task: Task) -> bool:
    values = task_values(task)
    if connection.execute(insert_sql("tasks", values, "OR IGNORE"), tuple(values.values())).rowcount == 0:
        return False
    if task.data:
        add(connection, "inputs", {"task": task.address, "data": task.data})
    line: JournalLine = moves.first_line(task)
    add(connection, "journal", line_values(line))
    return True


_UPDATE_TASK = (
    f"UPDATE tasks SET {', '.join(f'{name} = ?' for name in TASK_COLUMNS)} "  # noqa: S608
    "WHERE address = ? AND version = ? AND state = ?"
)


def _update_task(connection: Connection, before: Task, after: Task) -> None:
    guard = (before.address, before.version, before.state)
    if connection.execute(_UPDATE_TASK, (*task_values(after).values(), *guard)).rowcount == 0:
        raise _stale(connection, before)
    if after.data != before.data:
        connection.execute("INSERT OR REPLACE INTO inputs (task, data) VALUES (?, ?)", (after.address, after.data))


def _stale(connection: Connection, task: Task) -> StoreError:
    row = connection.execute("SELECT state, version FROM tasks WHERE address = ?", (task.address,)).fetchone()
    if row is None:
        return StoreError(f"no task {task.address}", code="store.no_task")
    return StaleRow(f"{task.address} is {row['state']} v{row['version']}, not {task.state} v{task.version}")
