import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from ogpu_provider.domain.errors import StoreError
from ogpu_provider.store.database import Database

Work = Callable[[sqlite3.Connection], object]


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(tmp_path / "provider.db", readonly=False)
    await database.open()
    yield database
    await database.close()


def note(key: str, text: str = "") -> Work:
    return lambda c: c.execute("INSERT INTO meta (key, value) VALUES (?, ?)", (key, text))


async def keys(database: Database) -> list[str]:
    return await database.read(lambda c: [row["key"] for row in c.execute("SELECT key FROM meta ORDER BY key")])


async def together(database: Database, *works: Work) -> list[object]:
    """Have the works done in one group: they are asked for while the thread is held."""
    go = threading.Event()
    hold = asyncio.ensure_future(database.read(lambda c: go.wait(10)))
    await asyncio.sleep(0)
    asked = [asyncio.ensure_future(database.write(work)) for work in works]
    await asyncio.sleep(0)
    go.set()
    await hold
    return await asyncio.gather(*asked, return_exceptions=True)


async def test_what_waits_is_committed_together_and_durable_when_it_is_answered(database: Database) -> None:
    said: list[str] = []
    await database.read(lambda c: c.set_trace_callback(said.append))
    assert not [error for error in await together(database, *map(note, "abcde")) if isinstance(error, Exception)]
    assert said.count("BEGIN IMMEDIATE") == 1
    other = sqlite3.connect(database.path)
    assert [key for (key,) in other.execute("SELECT key FROM meta ORDER BY key")] == list("abcde")
    other.close()


async def test_a_piece_that_raises_is_undone_whole_and_alone(database: Database) -> None:
    def half(connection: sqlite3.Connection) -> None:
        note("half")(connection)
        raise StoreError("no")

    first, error, last = await together(database, note("a"), half, note("c"))
    assert isinstance(error, StoreError)
    assert not isinstance(first, Exception)
    assert not isinstance(last, Exception)
    assert await keys(database) == ["a", "c"]


async def test_a_broken_constraint_is_the_error_of_its_piece(database: Database) -> None:
    _, error, _ = await together(database, note("a"), note("a"), note("b"))
    assert isinstance(error, StoreError)
    assert await keys(database) == ["a", "b"]


async def test_where_the_transaction_is_lost_each_piece_is_done_again_alone(database: Database) -> None:
    def lose(connection: sqlite3.Connection) -> None:
        connection.execute("ROLLBACK")
        raise sqlite3.OperationalError("disk I/O error")

    first, error, last = await together(database, note("a"), lose, note("c"))
    assert isinstance(error, StoreError)
    assert not isinstance(first, Exception)
    assert not isinstance(last, Exception)
    assert await keys(database) == ["a", "c"]


async def test_on_a_full_disk_only_what_does_not_fit_fails(database: Database) -> None:
    [pages] = await database.read(lambda c: c.execute("PRAGMA page_count").fetchone())
    await database.read(lambda c: c.execute(f"PRAGMA max_page_count = {pages + 2}").fetchone())
    first, error, last = await together(database, note("a"), note("large", "x" * 100_000), note("c"))
    assert isinstance(error, StoreError)
    assert error.code == "store.full"
    assert not isinstance(first, Exception)
    assert not isinstance(last, Exception)
    assert await keys(database) == ["a", "c"]
    assert await database.integrity_check() == []


async def test_a_commit_that_fails_fails_every_piece_that_fails_alone(database: Database) -> None:
    """A deferred foreign key is looked at by the commit itself."""

    def orphan(connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA defer_foreign_keys = ON")
        connection.execute("INSERT INTO inputs (task, data) VALUES ('nobody', '')")

    first, error, last = await together(database, note("a"), orphan, note("c"))
    assert isinstance(error, StoreError)
    assert not isinstance(first, Exception)
    assert not isinstance(last, Exception)
    assert await keys(database) == ["a", "c"]


async def test_closing_finishes_what_was_asked_for(database: Database) -> None:
    asked = [asyncio.ensure_future(database.write(note(key))) for key in "abc"]
    await asyncio.sleep(0)
    await database.close()
    await asyncio.gather(*asked)
    with pytest.raises(StoreError) as error:
        await database.write(note("d"))
    assert error.value.code == "store.closed"
    await database.open()
    assert await keys(database) == ["a", "b", "c"]


async def test_what_nobody_waits_for_any_more_is_left_out(database: Database) -> None:
    go = threading.Event()
    hold = asyncio.ensure_future(database.read(lambda c: go.wait(10)))
    await asyncio.sleep(0)
    asked = [asyncio.ensure_future(database.write(note(key))) for key in "ab"]
    await asyncio.sleep(0)
    asked[0].cancel()
    await asyncio.sleep(0)
    go.set()
    await hold
    await asyncio.gather(*asked, return_exceptions=True)
    assert await keys(database) == ["b"]
