"""Questions to the journal. The daemon asks through its store, the command line through `open_readonly`."""

from collections.abc import Collection
from pathlib import Path

from ogpu_provider.domain.approval import Approval
from ogpu_provider.domain.cordon import Cordon
from ogpu_provider.domain.earnings import Entry
from ogpu_provider.domain.history import Outcome
from ogpu_provider.domain.learnt import Learnt
from ogpu_provider.domain.source import ServedSource
from ogpu_provider.domain.task import OVER, JournalLine, Task, TaskState
from ogpu_provider.domain.units import Address
from ogpu_provider.domain.wish import Wish
from ogpu_provider.store.database import Database
from ogpu_provider.store.outbox import OutboxReader
from ogpu_provider.store.rows import (
    approval_of,
    cordon_of,
    entry_of,
    learnt_of,
    line_of,
    outcome_of,
    source_of,
    task_of,
    wish_of,
)

RUNS = 100
"""So many of the last runs of a function say how long it takes."""

_TASK = "SELECT tasks.*, inputs.data FROM tasks LEFT JOIN inputs ON inputs.task = tasks.address "
_LIVE = f"state NOT IN ({', '.join(repr(str(s)) for s in sorted(OVER))}) "

_PAYMENTS = (  # once, and as it stands now: a block that was undone may have settled a task before
    "SELECT max(journal.at) AS at, 'payment' AS kind, source, environment, coalesce(bid, payment) AS paid, "
    "'0' AS fee "
    "FROM journal JOIN tasks ON tasks.address = journal.task "
    "WHERE journal.after = 'settled' AND tasks.state = 'settled' GROUP BY tasks.address HAVING max(journal.at) >= ?"
)
_FEES = (  # a transaction that failed, or did nothing, cost its fee all the same
    "SELECT intents.updated_at AS at, effect AS kind, coalesce(tasks.source, sources.address) AS source, "
    "coalesce(tasks.environment, sources.environment) AS environment, '0' AS paid, fee_paid AS fee FROM intents "
    "LEFT JOIN tasks ON tasks.address = intents.subject LEFT JOIN sources ON sources.address = intents.subject "
    "WHERE intents.state IN ('confirmed', 'reverted', 'abandoned') AND fee_paid IS NOT NULL AND intents.updated_at >= ?"
)

_OUTCOMES = (
    "SELECT address, source, state, code, reason, function, payment, expiry, seen_at, updated_at, response, "
    "(SELECT detail FROM journal WHERE journal.task = address AND after = 'declined' "
    "ORDER BY journal.seq DESC LIMIT 1) AS detail FROM tasks WHERE seen_at >= ? ORDER BY tasks.seq"
)


class SqliteReader(OutboxReader):
    """Reads of one journal file. Every method may raise StoreError."""

    async def task(self, address: Address) -> Task | None:
        return await self._one(_TASK + "WHERE address = ?", task_of, address)

    async def live(self) -> list[Task]:
        return await self._all(_TASK + f"WHERE {_LIVE} ORDER BY tasks.seq", task_of)

    async def touched_above(self, block: int) -> list[Task]:
        sql = "WHERE seen_block > ? OR finalized_block > ? OR state IN ('submitted', 'responded') ORDER BY tasks.seq"
        return await self._all(_TASK + sql, task_of, block, block)

    async def tasks(
        self,
        *,
        states: Collection[TaskState] = (),
        source: Address | None = None,
        since: float | None = None,
        limit: int = 100,
    ) -> list[Task]:
        """Rows that match all filters, newest first. `since`: updated at or after, unix seconds."""
        where, values = ["1"], list[object]()
        if states:
            where.append(f"state IN ({', '.join('?' * len(states))})")
            values += states
        if source is not None:
            where.append("source = ?")
            values.append(source)
        if since is not None:
            where.append("updated_at >= ?")
            values.append(since)
        sql = _TASK + f"WHERE {' AND '.join(where)} ORDER BY tasks.seq DESC LIMIT ?"
        return await self._all(sql, task_of, *values, limit)

    async def counts(self) -> dict[TaskState, int]:
        """How many tasks are in each state that has any."""
        found = await self._all("SELECT state, count(*) AS n FROM tasks GROUP BY state", lambda r: (r["state"], r["n"]))
        return {TaskState(state): n for state, n in found}

    async def tallies(self, since: float) -> list[tuple[TaskState, str, int]]:
        """State, code and number of the tasks seen at or after `since` (unix seconds)."""
        sql = "SELECT state, code, count(*) AS n FROM tasks WHERE seen_at >= ? GROUP BY state, code"
        return await self._all(sql, lambda row: (TaskState(row["state"]), row["code"], row["n"]), since)

    async def history(self, task: Address) -> list[JournalLine]:
        return await self._all("SELECT * FROM journal WHERE task = ? ORDER BY seq", line_of, task)

    async def lines(self, after: int = 0, *, limit: int = 1000) -> list[tuple[int, JournalLine]]:
        """The history of all tasks behind position `after`, each with its position; for followers of the journal."""
        sql = "SELECT * FROM journal WHERE seq > ? ORDER BY seq LIMIT ?"
        return await self._all(sql, lambda row: (row["seq"], line_of(row)), after, limit)

    async def result(self, task: Address) -> bytes | None:
        return await self._one("SELECT body FROM results WHERE task = ?", lambda row: bytes(row["body"]), task)

    async def result_at(self, task: Address) -> float | None:
        """When the result was taken in, unix seconds."""
        return await self._one("SELECT at FROM results WHERE task = ?", lambda row: float(row["at"]), task)

    async def responses(self) -> list[Address]:
        """The responses that were ours."""
        sql = "SELECT response FROM tasks WHERE response IS NOT NULL"
        return await self._all(sql, lambda row: Address(row["response"]))

    async def outcomes(self, since: float) -> list[Outcome]:
        """What became of every task seen at or after `since` (unix seconds), shortly; oldest first."""
        return await self._all(_OUTCOMES, outcome_of, since)

    async def functions(self, since: float = 0.0) -> dict[Address, str]:
        """What those seen at or after `since` (unix seconds) asked for, by address in lower case."""
        sql = "SELECT lower(address) AS task, function FROM tasks WHERE function != '' AND seen_at >= ?"
        return dict(await self._all(sql, lambda row: (Address(row["task"]), row["function"]), since))

    async def began(self) -> float | None:
        """When the first task of all was seen, unix seconds."""
        return await self._one("SELECT min(seen_at) AS at FROM tasks", lambda row: row["at"])

    async def longest_run(self, source: Address, function: str) -> float | None:
        sql = (
            "SELECT max(took) AS longest FROM (SELECT max(results.at - accepted_at, 0) AS took FROM tasks "
            "JOIN results ON results.task = address WHERE source = ? AND function = ? AND accepted_at > 0 "
            "ORDER BY seq DESC LIMIT ?)"
        )
        return await self._one(sql, lambda row: row["longest"], source, function, RUNS)

    async def sources(self) -> list[ServedSource]:
        return await self._all("SELECT * FROM sources ORDER BY rowid", source_of)

    async def wishes(self) -> list[Wish]:
        """What the operator asked for at run time, oldest first."""
        return await self._all("SELECT * FROM wishes ORDER BY at, subject", wish_of)

    async def approval(self, source: Address) -> Approval | None:
        """The compose file of a source that may run."""
        return await self._one("SELECT * FROM approvals WHERE source = ?", approval_of, source)

    async def learnt(self) -> list[Learnt]:
        """Everything that was measured here."""
        return await self._all("SELECT * FROM learnt ORDER BY fact, subject, aspect", learnt_of)

    async def cordons(self, *, lifted: bool = False) -> list[Cordon]:
        """Cards that are out of use, oldest first; with `lifted` those that were, too."""
        sql = "SELECT * FROM cordons WHERE lifted_at IS NULL OR ? ORDER BY seq"
        return await self._all(sql, cordon_of, lifted)

    async def entries(self, since: float = 0.0) -> list[Entry]:
        """Settled payments and fees paid, as of when the journal learnt of them, at or after `since`; oldest first."""
        found = await self._all(_PAYMENTS, entry_of, since) + await self._all(_FEES, entry_of, since)
        return sorted(found, key=lambda entry: entry.at)


async def open_readonly(path: Path) -> SqliteReader:
    """Open a journal to look at, also while a daemon writes to it.

    Raises StoreError: store.missing, store.older_schema, store.newer_schema, store.corrupt, store.unreadable.
    """
    database = Database(path, readonly=True)
    await database.open()
    return SqliteReader(database)
