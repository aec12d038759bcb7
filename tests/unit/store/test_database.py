"""One file and its thread: what is promised of them whatever lies in the file."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from ogpu_provider.domain.errors import StoreError
from ogpu_provider.store.database import BUSY_TIMEOUT_MS, Database
from ogpu_provider.store.group_commit import GROUP, GroupCommit

Connection = sqlite3.Connection


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """Short reads are done at once."""
    database = Database(tmp_path / "journal.db", readonly=False, at_once=True)
    await database.open()
    await database.write(lambda c: c.execute("CREATE TABLE noted (x)"))
    yield database
    await database.close()


def noted(connection: Connection) -> int:
    (found,) = connection.execute("SELECT count(*) FROM noted").fetchone()
    return int(found)


def note(connection: Connection) -> None:
    connection.execute("INSERT INTO noted VALUES (1)")


async def at_once(database: Database, *works: Callable[[Connection], None]) -> list[str]:
    """What is said to SQLite for pieces of work that are asked for while it is busy."""
    said: list[str] = []
    began, go = threading.Event(), threading.Event()

    def busy(connection: Connection) -> None:
        connection.set_trace_callback(said.append)
        began.set()
        go.wait(60)

    hold = asyncio.ensure_future(database.read(busy, long=True))
    await asyncio.to_thread(began.wait, 60)
    writing = [asyncio.ensure_future(database.write(work)) for work in works]
    await asyncio.sleep(0)
    go.set()
    await asyncio.gather(hold, *writing, return_exceptions=True)
    return said


async def test_a_short_read_does_not_wait_for_a_commit_and_a_long_one_does(database: Database) -> None:
    began, go = threading.Event(), threading.Event()

    def slow(connection: Connection) -> None:
        note(connection)
        began.set()
        go.wait(60)

    writing = asyncio.ensure_future(database.write(slow))
    await asyncio.to_thread(began.wait, 60)
    assert await database.read(noted) == 0
    long = asyncio.ensure_future(database.read(noted, long=True))
    await asyncio.sleep(0)
    assert not long.done()
    go.set()
    await writing
    assert (await long, await database.read(noted)) == (1, 1)


async def test_a_read_sees_one_moment_whatever_is_committed_meanwhile(database: Database) -> None:
    def work(connection: Connection) -> tuple[int, int]:
        before = noted(connection)
        other = sqlite3.connect(database.path, isolation_level=None)
        note(other)
        other.close()
        return before, noted(connection)

    assert await database.read(work) == (0, 0)
    assert await database.read(noted) == 1
    assert await database.read(work, long=True) == (1, 1)


async def test_who_reads_cannot_write_and_waits_for_others_as_long_as_who_writes(database: Database) -> None:
    [waits] = await database.read(lambda c: [tuple(row) for row in c.execute("PRAGMA busy_timeout")])
    assert waits == (BUSY_TIMEOUT_MS,)
    with pytest.raises(StoreError):
        await database.read(note)
    assert await database.read(noted) == 0


async def test_a_file_is_made_where_there_is_no_folder_and_is_ours_alone_whoever_made_it(tmp_path: Path) -> None:
    there = tmp_path / "open.db"
    there.touch()
    there.chmod(0o644)
    for path in (tmp_path / "some" / "where" / "journal.db", there):
        database = Database(path, readonly=False)
        await database.open()
        await database.close()
        assert path.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "some" / "where").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(("pieces", "transactions"), [(GROUP, 1), (GROUP + 1, 2)])
async def test_no_more_than_a_group_is_in_one_transaction(database: Database, pieces: int, transactions: int) -> None:
    assert GROUP == 256
    said = await at_once(database, *[note] * pieces)
    assert said.count("BEGIN IMMEDIATE") == transactions
    assert await database.read(noted) == pieces


async def test_each_of_those_that_are_tried_apart_lets_go_of_its_savepoint(database: Database) -> None:
    def fail(connection: Connection) -> None:
        raise StoreError("no")

    said = await at_once(database, note, fail, note)
    assert said.count("SAVEPOINT piece") == said.count("RELEASE piece") == 3
    assert said.count("ROLLBACK TO piece") == 1
    assert await database.read(noted) == 2


async def test_nothing_is_asked_of_a_thread_that_has_ended_and_a_process_may_end_before_it() -> None:
    connection = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
    before = set(threading.enumerate())  # a store that a test before left open has one, too
    thread = GroupCommit(connection, asyncio.get_running_loop())
    assert await thread.ask(lambda c: c.execute("SELECT 7").fetchone(), writes=False) == (7,)
    [journal] = [one for one in threading.enumerate() if one.name == "journal" and one not in before]
    assert journal.daemon
    await asyncio.to_thread(thread.finish)
    assert not journal.is_alive()
    with pytest.raises(RuntimeError, match="closed"):
        thread.ask(note, writes=True)
    connection.close()
