"""One SQLite file: opened safely, migrated, and used from one thread, which commits in groups.

WAL with synchronous=FULL: with NORMAL a committed transaction may be lost with the power.
"""

import asyncio
import fcntl
import os
import re
import sqlite3
from collections.abc import Callable
from contextlib import nullcontext
from importlib import resources
from pathlib import Path
from typing import TypeVar

from ogpu_provider.domain.errors import Retry, StoreError
from ogpu_provider.store.group_commit import GroupCommit
from ogpu_provider.store.turn import Turn

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

BUSY_TIMEOUT_MS = 30_000
JOURNAL = "migrations"
"""Folder with the schema of the provider's journal; another kind of file has a folder of its own."""
_INCLUDE = re.compile(r"^-- include (\S+)$", re.MULTILINE)
_REBUILD = "move the file away to start a new journal from the chain, or restore a copy"


def migrations(schema: str = JOURNAL) -> list[tuple[int, str]]:
    """Number and SQL of every migration, ascending; the last number is the schema of this release.

    A line `-- include FILE` stands for what that file says: two kinds of files have an outbox.
    """
    store = resources.files("ogpu_provider.store")
    files = sorted((f for f in store.joinpath(schema).iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)

    def included(line: re.Match[str]) -> str:
        return store.joinpath(line[1]).read_text("utf-8")

    return [(int(f.name.split("_")[0]), _INCLUDE.sub(included, f.read_text("utf-8"))) for f in files]


def translate(error: sqlite3.Error, path: Path) -> StoreError:
    """The only place where an error of the library becomes one of ours."""
    primary = getattr(error, "sqlite_errorcode", 0) & 0xFF
    message = f"{path}: {error}"
    if primary == sqlite3.SQLITE_FULL:
        return StoreError(message, code="store.full", retry=Retry.LATER, remedy="free space on the disk")
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreError(message, code="store.busy", retry=Retry.LATER)
    if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or "decode to UTF-8" in str(error):
        return StoreError(message, code="store.corrupt", remedy=_REBUILD)
    if primary == sqlite3.SQLITE_IOERR:
        return StoreError(message, code="store.io", retry=Retry.LATER, remedy="look at the disk")
    if primary in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return StoreError(message, code="store.unreadable", remedy="check owner and mode of the data directory")
    return StoreError(message)


class Database:
    """A connection that lives on its own thread, so that the event loop never waits for the disk.

    `schema`: the folder that makes the file. `shared`: write although a daemon holds the file, for a command beside it.
    `at_once`: short reads do not wait behind commits; a connection of their own does them where they are asked for,
    which takes a twentieth of a millisecond. `turns`: two processes write all the time, and take turns.
    """

    def __init__(
        self,
        path: Path,
        *,
        readonly: bool,
        schema: str = JOURNAL,
        shared: bool = False,
        at_once: bool = False,
        turns: bool = False,
    ) -> None:
        self.path = path
        self._readonly = readonly
        self._schema = schema
        self._shared = shared
        self._reads_at_once = at_once
        self._turn = Turn(path.with_name(path.name + ".turn")) if turns else None
        self._reader: sqlite3.Connection | None = None
        self._connection: sqlite3.Connection | None = None
        self._thread: GroupCommit | None = None
        self._lock: int | None = None

    async def open(self) -> None:
        """Raises StoreError: store.locked, .newer_schema, .corrupt, .foreign_file, .missing, .unreadable."""
        opening = asyncio.ensure_future(asyncio.to_thread(self._open_now))
        try:
            connection = await asyncio.shield(opening)
        except BaseException as error:
            await asyncio.wait([opening])
            await self.close()
            if isinstance(error, sqlite3.Error):
                raise translate(error, self.path) from error
            raise
        self._thread = GroupCommit(connection, asyncio.get_running_loop(), self._turn or nullcontext())

    async def close(self) -> None:
        """Finish what was asked for and let go of the file. Closing twice does nothing."""
        thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.to_thread(thread.finish)
        for connection in (self._reader, self._connection):
            if connection is not None:
                connection.close()
        self._reader = self._connection = None
        if self._turn is not None:
            self._turn.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def write(self, work: Work[T]) -> T:
        """Run `work` in one transaction: durable when this returns, undone as a whole if it raises.

        It may be run again where it shared a transaction that failed, so it acts on the connection alone.
        """
        return await self._ask(work, writes=True)

    async def read(self, work: Work[T], *, long: bool = False) -> T:
        """Run `work` on one snapshot. `long`: it may take a while, so never where it is asked for."""
        if self._reader is None or long:
            return await self._ask(work, writes=False)
        try:
            self._reader.execute("BEGIN")
            try:
                return work(self._reader)
            finally:
                self._reader.execute("COMMIT")
        except sqlite3.Error as error:
            raise translate(error, self.path) from error
        except (UnicodeEncodeError, OverflowError) as error:
            raise StoreError(f"{self.path}: {error}", code="store.bad_value") from error

    async def integrity_check(self) -> list[str]:
        """What SQLite finds wrong with the file; empty if nothing."""

        def check(connection: sqlite3.Connection) -> list[str]:
            found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check")]
            found += [f"foreign key: {tuple(row)}" for row in connection.execute("PRAGMA foreign_key_check")]
            return [line for line in found if line != "ok"]

        return await self.read(check)

    async def _ask(self, work: Work[T], *, writes: bool) -> T:
        if self._thread is None:
            raise StoreError(f"{self.path} is closed", code="store.closed")
        try:
            result: T = await self._thread.ask(work, writes=writes)
        except sqlite3.Error as error:
            raise translate(error, self.path) from error
        except (UnicodeEncodeError, OverflowError) as error:
            raise StoreError(f"{self.path}: {error}", code="store.bad_value") from error
        return result

    def _open_now(self) -> sqlite3.Connection:
        if self._readonly:
            if not self.path.is_file():
                raise StoreError(
                    f"no journal at {self.path}",
                    code="store.missing",
                    remedy="set this host up with `ogpu-provider register` and start `ogpu-provider run`, or check "
                    "--config and data_dir",
                )
            target, mode = self.path.absolute().as_uri() + "?mode=ro", True
        else:
            self._prepare_file()
            target, mode = str(self.path), False
        connection = sqlite3.connect(target, uri=mode, isolation_level=None, check_same_thread=False)
        self._connection = connection
        connection.row_factory = sqlite3.Row
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        if not self._readonly:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
        self._check_schema(connection)
        if self._reads_at_once:
            self._reader = sqlite3.connect(target, uri=mode, isolation_level=None, check_same_thread=False)
            self._reader.row_factory = sqlite3.Row
            self._reader.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
            self._reader.execute("PRAGMA query_only = ON")
        return connection

    def _prepare_file(self) -> None:
        """Take the lock and make the file 0600 before SQLite sees it; -wal and -shm take its mode."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            # A file of its own: closing any descriptor of the database would drop SQLite's locks on it.
            if not self._shared:
                self._lock = os.open(self.path.with_name(self.path.name + ".lock"), flags, 0o600)
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self._turn is not None:
                self._turn.open()
            descriptor = os.open(self.path, flags, 0o600)
            os.fchmod(descriptor, 0o600)
            os.close(descriptor)
        except BlockingIOError as error:
            raise StoreError(
                f"{self.path} is in use by another daemon", code="store.locked", remedy="stop the other daemon"
            ) from error
        except OSError as error:
            raise StoreError(f"{self.path}: {error.strerror}", code="store.unreadable") from error

    def _check_schema(self, connection: sqlite3.Connection) -> None:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        steps = migrations(self._schema)
        newest = steps[-1][0]
        if version > newest:
            raise StoreError(
                f"{self.path} has schema {version}, this release knows {newest}",
                code="store.newer_schema",
                remedy="run the release that wrote it, or a newer one",
            )
        damage = [row[0] for row in connection.execute("PRAGMA quick_check(1)") if row[0] != "ok"]
        if damage:
            raise StoreError(f"{self.path}: {damage[0]}", code="store.corrupt", remedy=_REBUILD)
        if version == 0 and connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone():
            raise StoreError(f"{self.path} is the database of something else", code="store.foreign_file")
        if self._readonly and version < newest:
            raise StoreError(
                f"{self.path} has schema {version}, this release reads {newest}",
                code="store.older_schema",
                remedy="start the daemon once, it migrates the file",
            )
        for number, sql in steps:
            if number > version:
                self._migrate(connection, number, sql)

    @staticmethod
    def _migrate(connection: sqlite3.Connection, number: int, sql: str) -> None:
        try:
            connection.executescript(f"BEGIN IMMEDIATE;\n{sql}\nPRAGMA user_version = {number};\nCOMMIT;")
        except sqlite3.Error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
