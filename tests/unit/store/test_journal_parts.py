"""The parts of the journal one by one: what each promises beyond what whole saves show."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ogpu_provider.domain.cordon import Cordon
from ogpu_provider.domain.errors import StoreError
from ogpu_provider.domain.learnt import Fact, Key, Learnt
from ogpu_provider.domain.task import Task, TaskState, Transition
from ogpu_provider.domain.units import Address
from ogpu_provider.domain.verdict import Reason, Ruling
from ogpu_provider.store.database import BUSY_TIMEOUT_MS, Database
from ogpu_provider.store.reader import RUNS
from ogpu_provider.store.sqlite import SqliteStore

ME = Address("0x" + "a1" * 20)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = await SqliteStore.open(tmp_path / "journal.db", chain_id=1, provider=ME)
    yield store
    await store.close()


def tasks(count: int) -> list[Task]:
    return [Task(Address(f"0x{n:040x}"), Address("0x" + "50" * 20), TaskState.SEEN, 1, 1.0) for n in range(count)]


def test_a_migration_that_fails_leaves_nothing_begun() -> None:
    connection = sqlite3.connect(":memory:")
    with pytest.raises(sqlite3.Error):
        Database._migrate(connection, 1, "CREATE TABLE half (x);\nNONSENSE;")
    assert not connection.in_transaction
    assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == []
    connection.close()


async def test_an_opening_that_is_given_up_leaves_the_file_to_the_next(tmp_path: Path) -> None:
    for _ in range(5):
        first = asyncio.ensure_future(Database(tmp_path / "journal.db", readonly=False).open())
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        second = Database(tmp_path / "journal.db", readonly=False)
        await second.open()
        await second.close()


async def test_work_that_fails_alone_is_done_once(tmp_path: Path) -> None:
    database = Database(tmp_path / "journal.db", readonly=False)
    await database.open()
    runs = []

    def work(connection: sqlite3.Connection) -> None:
        runs.append(connection)
        raise StoreError("no")

    with pytest.raises(StoreError):
        await database.write(work)
    assert len(runs) == 1
    await database.close()


async def test_a_follower_gets_a_thousand_lines_at_a_time(store: SqliteStore) -> None:
    await store.insert(tasks(1003))
    lines = await store.lines()
    assert len(lines) == 1000
    assert len(await store.lines(lines[-1][0])) == 3


async def test_what_spoke_against_a_task_is_what_did_not_pass(store: SqliteStore) -> None:
    [task] = await store.insert(tasks(1))
    good, bad = Ruling("price.ok", True, "enough"), Ruling("time.short", False, "too late")
    step = Transition(TaskState.DECLINED, reasons=(Reason("time.short", "too late"),), rulings=(good, bad))
    await store.save(task, step, at=2.0, boot="b")
    [outcome] = await store.outcomes(0.0)
    assert outcome.against == (bad,)


async def test_a_page_of_tasks_is_a_hundred(store: SqliteStore) -> None:
    await store.insert(tasks(102))
    assert len(await store.tasks()) == 100


async def test_what_was_learnt_from_one_sample_is_kept_and_from_none_is_forgotten(store: SqliteStore) -> None:
    once = Learnt(Key(Fact.GAS, "attempt"), 1, 9.0, (9.0,))
    await store.keep_learnt([once])
    assert await store.learnt() == [once]
    await store.keep_learnt([Learnt(once.key)])
    assert await store.learnt() == []


async def test_two_that_take_turns_both_write(tmp_path: Path) -> None:
    both = [Database(tmp_path / "shared.db", readonly=False, shared=True, turns=True) for _ in range(2)]
    for database in both:
        await database.open()
    for n, database in enumerate(both):
        await database.write(lambda c, n=n: c.execute(f"CREATE TABLE t{n} (x)"))  # type: ignore[misc]
    names = await both[0].read(lambda c: [row["name"] for row in c.execute("SELECT name FROM sqlite_schema")])
    assert {"t0", "t1"} <= set(names)
    for database in both:
        await database.close()


async def test_a_closed_file_holds_no_descriptor_and_an_open_one_waits_for_others(tmp_path: Path) -> None:
    database = Database(tmp_path / "shared.db", readonly=False, shared=True, turns=True)
    await database.open()
    [waits] = await database.read(lambda c: [tuple(row) for row in c.execute("PRAGMA busy_timeout")])
    assert waits == (BUSY_TIMEOUT_MS,)
    await database.close()
    held = [path.readlink() for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    assert not [path for path in held if path.is_relative_to(tmp_path)]


async def test_what_goes_well_together_takes_one_transaction_and_what_does_not_two(tmp_path: Path) -> None:
    database = Database(tmp_path / "journal.db", readonly=False)
    await database.open()
    said: list[str] = []
    go = threading.Event()

    def fail(connection: sqlite3.Connection) -> None:
        raise StoreError("no")

    def make(name: str) -> Callable[[sqlite3.Connection], object]:
        return lambda connection: connection.execute(f"CREATE TABLE {name} (x)")

    async def together(*works: Callable[[sqlite3.Connection], object]) -> list[str]:
        go.clear()
        hold = asyncio.ensure_future(database.read(lambda c: go.wait(60)))
        await asyncio.sleep(0)
        asked = [asyncio.ensure_future(database.write(work)) for work in works]
        await asyncio.sleep(0)
        said.clear()
        go.set()
        await asyncio.gather(hold, *asked, return_exceptions=True)
        return [line for line in said if line.startswith(("BEGIN IMMEDIATE", "SAVEPOINT"))]

    await database.read(lambda c: c.set_trace_callback(said.append))
    assert await together(make("a"), make("b")) == ["BEGIN IMMEDIATE"]
    assert await together(make("c"), fail, make("d")) == ["BEGIN IMMEDIATE"] * 2 + ["SAVEPOINT piece"] * 3
    await together(make("e"), fail)  # of two, too, the other one is kept
    assert await database.read(lambda c: c.execute("SELECT x FROM e").fetchall()) == []
    said.clear()
    assert await database.read(lambda c: c.execute("SELECT x FROM d").fetchall()) == []
    assert said[0] == "BEGIN", "who reads takes no turn from who writes"
    await database.close()


async def test_a_card_that_is_cordoned_stays_so_until_somebody_lifts_it(store: SqliteStore) -> None:
    cordon = Cordon("GPU-1", "a card", Reason("gpu.xid", "Xid 79"), 5.0)
    await store.cordon(cordon)
    assert [one.card for one in await store.cordons()] == ["GPU-1"]
    await store.uncordon("GPU-1", at=6.0, by="operator")
    assert await store.cordons() == []
    [lifted] = await store.cordons(lifted=True)
    assert (lifted.lifted_at, lifted.lifted_by) == (6.0, "operator")


async def test_a_note_is_kept_and_replaced(store: SqliteStore) -> None:
    for text in ("the first", "the last"):
        await store.note("ended", text)
    assert (await store.meta())["ended"] == "the last"


async def test_only_the_last_hundred_runs_say_how_long_a_function_takes(store: SqliteStore) -> None:
    assert RUNS == 100
    running = [replace(task, state=TaskState.EXECUTING, function="f", accepted_at=10.0) for task in tasks(RUNS + 1)]
    await store.insert(running)
    for n, task in enumerate(running):
        await store.put_result(task.address, b"{}", at=20.0 if n else 90.0)
    assert await store.longest_run(running[0].source, "f") == 10.0
