"""The chain's past in a file of its own, so that only what is new has to be read. It can be deleted at any time."""

import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Self

from ogpu_provider.domain.errors import StoreError
from ogpu_provider.domain.facts import Attempted, ResponseSubmitted, TaskStatus
from ogpu_provider.domain.history import Passage, PastTask, Span, Turn
from ogpu_provider.domain.source import SourceParams
from ogpu_provider.domain.units import Address, Hash
from ogpu_provider.store.database import Database
from ogpu_provider.store.reading import Reading
from ogpu_provider.store.rows import params_of, params_text

SCHEMA = "chain_history"
_PLACES = 1 << 24
"""Logs that a block may have."""
_PORTION = 5000
"""Tasks read in one go."""
_TASKS = (
    "SELECT place, tasks.address AS address, source, at, payment, expiry, attempts, attempted_at, responded_at, "
    'response, ended_at, "end" FROM tasks LEFT JOIN fates ON fates.task = tasks.address '
)
_ENDS = (TaskStatus.CANCELED, TaskStatus.EXPIRED, TaskStatus.FINALIZED)


class HistoryStore(Reading):
    """Every method may raise StoreError."""

    @classmethod
    async def open(cls, path: Path, *, network: str) -> Self:
        """For one command at a time; `network` names the deployment, and another one's history is forgotten.

        Raises StoreError store.locked while another command reads the chain, and as `Database.open`.
        """
        database = Database(path, readonly=False, schema=SCHEMA)
        try:
            await database.open()
        except StoreError as error:
            if error.code != "store.locked":
                raise
            text, remedy = f"{path} is in use by another command", "wait for it, or end it"
            raise StoreError(text, code="store.locked", remedy=remedy) from error
        store = cls(database)
        await store.belongs("network", network)
        return store

    async def belongs(self, key: str, value: str) -> None:
        """The file is of a chain with this property; what was read of one with another is forgotten."""
        if (await self.meta()).get(key) not in (None, value):
            await self.forget()
        keep = "INSERT OR REPLACE INTO meta VALUES (?, ?)"
        await self._database.write(lambda c: c.execute(keep, (key, value)).rowcount)

    # what was read

    async def spans(self) -> list[Span]:
        """What was read; ascending."""
        return await self._all(
            "SELECT * FROM spans ORDER BY first",
            lambda row: Span(row["first"], row["last"], Hash(row["hash"]), row["at"]),
        )

    async def keep(self, passage: Passage) -> None:
        """All of it or nothing. Blocks that were read before must not be given again."""
        await self._database.write(lambda c: _keep(c, passage))

    async def forget(self) -> None:
        """Begin anew: what was read is not this chain's past."""

        def work(connection: sqlite3.Connection) -> None:
            for emptying in ("DELETE FROM fates", "DELETE FROM tasks", "DELETE FROM sources", "DELETE FROM spans"):
                connection.execute(emptying)

        await self._database.write(work)

    async def keep_params(self, found: Sequence[SourceParams]) -> None:
        rows = [(params_text(one), one.address) for one in found]
        await self._database.write(
            lambda c: c.executemany("UPDATE sources SET params = ? WHERE address = ?", rows).rowcount
        )

    # what is asked

    async def durations(self, since: float = 0.0, *, most: int = 100) -> dict[Address, list[int]]:
        """Seconds from first attempt to first response, of the `most` last tasks of each source; oldest first."""
        sql = (
            "SELECT name, took FROM "
            "(SELECT sources.address AS name, place, max(0, responded_at - attempted_at) AS took, "
            "row_number() OVER (PARTITION BY source ORDER BY place DESC) AS nth "
            "FROM tasks JOIN fates ON fates.task = tasks.address JOIN sources ON sources.id = source "
            "WHERE at >= ? AND responded_at IS NOT NULL AND attempted_at IS NOT NULL) WHERE nth <= ? ORDER BY place"
        )
        found: dict[Address, list[int]] = {}
        for name, took in await self._all(sql, lambda row: (Address(row["name"]), row["took"]), since, most):
            found.setdefault(name, []).append(took)
        return found

    async def sources(self, since: float = 0.0) -> dict[Address, SourceParams | None]:
        """Every source of tasks published at or after `since`, with its terms as they were last read."""
        sql = "SELECT address, params FROM sources WHERE id IN (SELECT DISTINCT source FROM tasks WHERE at >= ?)"
        found = await self._all(sql, lambda row: (Address(row["address"]), row["params"]), since)
        return {address: None if text is None else params_of(text) for address, text in found}

    async def count(self, since: float = 0.0) -> int:
        found = await self._one("SELECT count(*) AS n FROM tasks WHERE at >= ?", lambda row: int(row["n"]), since)
        return found or 0

    async def task(self, address: Address) -> PastTask | None:
        names = await self._sources()
        sql = _TASKS + "WHERE tasks.address = ?"
        return await self._one(sql, lambda row: _past(row, names), _bytes(address))

    async def tasks(self, since: float = 0.0) -> AsyncIterator[list[PastTask]]:
        """Those published at or after `since`, in the chain's order and in portions, of which one is in memory."""
        names = await self._sources()
        place = await self._one("SELECT min(place) - 1 AS p FROM tasks WHERE at >= ?", lambda row: row["p"], since)
        while place is not None:
            sql = _TASKS + "WHERE place > ? ORDER BY place LIMIT ?"
            rows = await self._all(sql, lambda row: row, place, _PORTION)
            if not rows:
                return
            yield [_past(row, names) for row in rows]
            place = rows[-1]["place"]

    async def _sources(self) -> Mapping[int, Address]:
        sql = "SELECT id, address FROM sources"
        return dict(await self._all(sql, lambda row: (row["id"], Address(row["address"]))))


def _keep(connection: sqlite3.Connection, passage: Passage) -> None:
    names = sorted({one.source for one in passage.published})
    connection.executemany("INSERT OR IGNORE INTO sources (address) VALUES (?)", [(name,) for name in names])
    numbers = {row["address"]: row["id"] for row in connection.execute("SELECT id, address FROM sources")}
    connection.executemany(
        "INSERT OR IGNORE INTO tasks VALUES (?, ?, ?, ?, ?, ?)",
        [
            (
                *(one.block * _PLACES + one.place, _bytes(one.task), numbers[one.source]),
                *(one.at, str(one.payment), str(one.expiry)),
            )
            for one in passage.published
        ],
    )
    for at, turn in passage.turns:
        _turn(connection, at, turn)
    _extend(connection, passage)


def _turn(connection: sqlite3.Connection, at: int, turn: Turn) -> None:
    """The order in which blocks are read does not matter: firsts are the least of those seen."""
    task = _bytes(turn.task)
    if isinstance(turn, Attempted):
        sql = (
            "INSERT INTO fates (task, attempts, attempted_at) VALUES (?1, 1, ?2) ON CONFLICT (task) DO UPDATE SET "
            "attempts = attempts + 1, attempted_at = min(ifnull(attempted_at, ?2), ?2)"
        )
        connection.execute(sql, (task, at))
    elif isinstance(turn, ResponseSubmitted):
        sql = (
            "INSERT INTO fates (task, responded_at, response) VALUES (?1, ?2, ?3) ON CONFLICT (task) DO UPDATE SET "
            "response = iif(ifnull(responded_at, ?2 + 1) > ?2, ?3, response), "
            "responded_at = min(ifnull(responded_at, ?2), ?2)"
        )
        connection.execute(sql, (task, at, _bytes(turn.response)))
    elif turn.status in _ENDS:
        sql = (
            'INSERT INTO fates (task, ended_at, "end") VALUES (?1, ?2, ?3) '
            'ON CONFLICT (task) DO UPDATE SET ended_at = ?2, "end" = ?3'
        )
        connection.execute(sql, (task, at, int(turn.status)))


def _extend(connection: sqlite3.Connection, passage: Passage) -> None:
    """Join the passage to the stretches beside it."""
    first, last, name, at = passage.first, passage.last, passage.last_hash, passage.last_at
    before = connection.execute("SELECT first FROM spans WHERE last = ?", (first - 1,)).fetchone()
    behind = connection.execute("SELECT last, hash, at FROM spans WHERE first = ?", (last + 1,)).fetchone()
    if before:
        first = before[0]
    if behind:
        connection.execute("DELETE FROM spans WHERE first = ?", (last + 1,))
        last, name, at = behind
    connection.execute("INSERT OR REPLACE INTO spans VALUES (?, ?, ?, ?)", (first, last, name, at))


def _past(row: sqlite3.Row, names: Mapping[int, Address]) -> PastTask:
    place, address, source, at, payment, expiry, attempts, attempted_at, responded_at, response, ended_at, end = row
    return PastTask(
        _address(address),
        names[source],
        place // _PLACES,
        at,
        int(payment),
        int(expiry),
        attempts or 0,
        attempted_at,
        responded_at,
        None if response is None else _address(response),
        ended_at,
        None if end is None else TaskStatus(end),
    )


def _bytes(address: Address) -> bytes:
    return bytes.fromhex(address[2:])


def _address(raw: bytes) -> Address:
    """In lower case: a checksum for each of a million tasks would take longer than all else."""
    return Address("0x" + raw.hex())
