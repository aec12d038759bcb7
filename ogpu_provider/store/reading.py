"""Reads on one database file, for every kind of reader."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ogpu_provider.store.database import Database

T = TypeVar("T")


class Reading:
    """Every method may raise StoreError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def path(self) -> Path:
        return self._database.path

    async def close(self) -> None:
        await self._database.close()

    async def integrity_check(self) -> list[str]:
        """What SQLite finds wrong with the file; empty if nothing."""
        return await self._database.integrity_check()

    async def meta(self) -> dict[str, str]:
        """`chain_id`, and whose file this is. `ended`: why the last daemon ended by itself."""
        return await self._database.read(lambda c: dict(c.execute("SELECT key, value FROM meta")))

    async def _all(self, sql: str, of: Callable[[sqlite3.Row], T], *values: object) -> list[T]:
        def work(connection: sqlite3.Connection) -> list[T]:
            return [of(row) for row in connection.execute(sql, values)]

        return await self._database.read(work)

    async def _one(self, sql: str, of: Callable[[sqlite3.Row], T], *values: object) -> T | None:
        found = await self._all(sql, of, *values)
        return found[0] if found else None
