"""What only the file can promise: who may open it, what survives a kill, what a damaged one does."""

import asyncio
import fcntl
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest

from ogpu_provider.domain.errors import Retry, StoreError
from ogpu_provider.domain.facts import Block
from ogpu_provider.domain.intent import Effect, Intent, IntentState, SignedTx
from ogpu_provider.domain.learnt import Fact, Key
from ogpu_provider.domain.source import Environment, ServedSource, SourceState
from ogpu_provider.domain.task import Task, TaskState, Transition
from ogpu_provider.domain.units import Address, Hash
from ogpu_provider.domain.wish import Want
from ogpu_provider.store.database import migrations, translate
from ogpu_provider.store.reader import open_readonly
from ogpu_provider.store.rows import TASK_COLUMNS
from ogpu_provider.store.sqlite import SqliteStore

ME = Address("0x" + "aA" * 20)
OTHER = Address("0x" + "bb" * 20)
SCHEMAS = Path(__file__).parent / "schemas"
TASK = Task(Address("0x" + "01" * 20), Address("0x" + "50" * 20), TaskState.SEEN, 10, 100.0)


async def opened(path: Path) -> SqliteStore:
    return await SqliteStore.open(path, chain_id=1071, provider=ME)


async def test_the_file_is_ours_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "journal.db"
    old = os.umask(0)
    try:
        store = await opened(path)
        await store.insert([TASK])
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file.name
    assert {f.name for f in path.parent.iterdir()} >= {"journal.db", "journal.db-wal", "journal.db.lock"}
    await store.close()
    await store.close()


async def test_commits_are_made_to_last(tmp_path: Path) -> None:
    store = await opened(tmp_path / "journal.db")
    pragmas = await store._database.read(
        lambda c: [c.execute(f"PRAGMA {p}").fetchone()[0] for p in ("journal_mode", "synchronous", "foreign_keys")]
    )
    assert pragmas == ["wal", 2, 1]
    await store.close()


async def test_what_was_saved_is_there_again(tmp_path: Path) -> None:
    store = await opened(tmp_path / "journal.db")
    await store.insert([TASK], Block(5, Hash("0x5"), Hash("0x4"), 1))
    moved = await store.save(TASK, Transition(TaskState.ADMITTED, {"data": "{}"}), at=1.0, boot="b")
    await store.close()
    store = await SqliteStore.open(tmp_path / "journal.db", chain_id=1071, provider=Address(ME.lower()))
    assert await store.live() == [moved]
    assert await store.cursor() == (5, "0x5")
    assert await store.meta() == {"chain_id": "1071", "provider": ME}
    await store.close()


@pytest.mark.parametrize(
    ("chain_id", "provider", "code"), [(1, ME, "store.other_chain"), (1071, OTHER, "store.other_provider")]
)
async def test_a_journal_of_somebody_else_is_refused(
    tmp_path: Path, chain_id: int, provider: Address, code: str
) -> None:
    await (await opened(tmp_path / "journal.db")).close()
    with pytest.raises(StoreError) as caught:
        await SqliteStore.open(tmp_path / "journal.db", chain_id=chain_id, provider=provider)
    assert caught.value.code == code
    assert caught.value.remedy
    await (await opened(tmp_path / "journal.db")).close()


async def test_one_daemon_writes_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with (tmp_path / "journal.db.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(StoreError) as caught:
            await opened(path)
        assert caught.value.code == "store.locked"
    store = await opened(path)
    with pytest.raises(StoreError) as caught:
        await opened(path)
    assert caught.value.code == "store.locked"
    await store.close()
    await (await opened(path)).close()


async def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    await (await opened(path)).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 9999")
    connection.close()
    for opening in (opened(path), open_readonly(path)):
        with pytest.raises(StoreError) as caught:
            await opening
        assert caught.value.code == "store.newer_schema"


async def test_damage_is_named_not_worked_around(tmp_path: Path) -> None:
    junk = tmp_path / "junk.db"
    junk.write_bytes(b"not a database at all" * 400)
    with pytest.raises(StoreError) as caught:
        await opened(junk)
    assert (caught.value.code, caught.value.retry) == ("store.corrupt", Retry.NEVER)

    path = tmp_path / "journal.db"
    store = await opened(path)
    for n in range(300):
        await store.insert([replace(TASK, address=Address(f"0x{n:040x}"), data="x" * 300)])
    assert await store.integrity_check() == []
    await store.close()
    body = bytearray(path.read_bytes())
    body[len(body) // 3 : len(body) // 2] = b"\xa5" * (len(body) // 2 - len(body) // 3)
    path.write_bytes(body)
    with pytest.raises(StoreError) as caught:
        await opened(path)
    assert caught.value.code == "store.corrupt"


async def test_the_file_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    with pytest.raises(StoreError) as caught:
        await opened(path)
    assert caught.value.code == "store.foreign_file"
    (tmp_path / "link.db").symlink_to(path)
    with pytest.raises(StoreError) as caught:
        await opened(tmp_path / "link.db")
    assert caught.value.code == "store.unreadable"


async def test_a_reader_looks_while_the_daemon_writes(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with pytest.raises(StoreError) as caught:
        await open_readonly(path)
    assert caught.value.code == "store.missing"
    store = await opened(path)
    reader = await open_readonly(path)
    assert await reader.tasks() == []
    await store.insert([TASK])
    assert await reader.tasks() == [TASK]
    with pytest.raises(StoreError):
        await reader._database.write(lambda c: c.execute("DELETE FROM tasks"))
    await reader.close()
    await store.close()
    reader = await open_readonly(path)
    assert await reader.tasks() == [TASK]
    await reader.close()


async def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = await opened(tmp_path / "journal.db")
    await store.close()
    with pytest.raises(StoreError) as caught:
        await store.live()
    assert caught.value.code == "store.closed"


async def test_the_loop_never_waits_for_the_disk(tmp_path: Path) -> None:
    store = await opened(tmp_path / "journal.db")
    connection = sqlite3.connect(tmp_path / "journal.db", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")  # somebody holds the write lock
    saving = asyncio.create_task(store.insert([TASK]))
    turns = 0
    for _ in range(200):
        await asyncio.sleep(0)
        turns += 1
    assert not saving.done()
    connection.execute("ROLLBACK")
    assert await saving == [TASK]
    assert turns == 200
    connection.close()
    await store.close()


async def test_a_cancelled_save_is_whole_or_absent(tmp_path: Path) -> None:
    store = await opened(tmp_path / "journal.db")
    await store.insert([TASK])
    saving = asyncio.create_task(store.save(TASK, Transition(TaskState.ADMITTED), at=1.0, boot="b"))
    await asyncio.sleep(0)
    saving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await saving
    row, lines = await store.task(TASK.address), await store.history(TASK.address)
    assert row is not None
    assert (row.version, len(lines)) in {(0, 1), (1, 2)}
    await store.close()


def test_every_error_of_the_library_has_a_code() -> None:
    codes = {
        sqlite3.SQLITE_FULL: ("store.full", Retry.LATER),
        sqlite3.SQLITE_BUSY: ("store.busy", Retry.LATER),
        sqlite3.SQLITE_LOCKED: ("store.busy", Retry.LATER),
        sqlite3.SQLITE_CORRUPT_INDEX: ("store.corrupt", Retry.NEVER),
        sqlite3.SQLITE_NOTADB: ("store.corrupt", Retry.NEVER),
        sqlite3.SQLITE_IOERR_FSYNC: ("store.io", Retry.LATER),
        sqlite3.SQLITE_READONLY: ("store.unreadable", Retry.NEVER),
        sqlite3.SQLITE_CONSTRAINT: ("store.failed", Retry.NEVER),
    }
    for number, expected in codes.items():
        error = sqlite3.OperationalError("x")
        error.sqlite_errorcode = number
        ours = translate(error, Path("j"))
        assert (ours.code, ours.retry) == expected


async def test_a_full_disk_fails_the_save_and_nothing_else(tmp_path: Path) -> None:
    store = await opened(tmp_path / "journal.db")
    await store.insert([TASK])
    pages = await store._database.read(lambda c: c.execute("PRAGMA page_count").fetchone()[0])
    await store._database.read(lambda c: c.execute(f"PRAGMA max_page_count = {pages}").fetchone())
    with pytest.raises(StoreError) as caught:
        await store.save(TASK, Transition(TaskState.ADMITTED, {"data": "x" * 1_000_000}), at=1.0, boot="b")
    assert (caught.value.code, caught.value.retry) == ("store.full", Retry.LATER)
    assert await store.task(TASK.address) == TASK
    await store._database.read(lambda c: c.execute("PRAGMA max_page_count = 1000000").fetchone())
    await store.save(TASK, Transition(TaskState.ADMITTED), at=1.0, boot="b")
    assert await store.integrity_check() == []
    await store.close()


def test_every_field_of_a_task_has_a_column(tmp_path: Path) -> None:
    connection = sqlite3.connect(":memory:")
    for _, sql in migrations():
        connection.executescript(sql)
    columns = {row[1] for row in connection.execute("PRAGMA table_info(tasks)")}
    assert set(TASK_COLUMNS) | {"seq"} == columns
    assert {f.name for f in fields(Task)} - set(TASK_COLUMNS) == {"data"}
    connection.close()


@pytest.mark.parametrize("number", [number for number, _ in migrations()])
async def test_every_schema_that_was_ever_written_opens(tmp_path: Path, number: int) -> None:
    path = tmp_path / "journal.db"
    with sqlite3.connect(path) as connection:
        connection.executescript((SCHEMAS / f"{number:04}.sql").read_text("utf-8"))
        connection.execute(f"PRAGMA user_version = {number}")
    connection.close()
    store = await SqliteStore.open(path, chain_id=1071, provider=Address("0x" + "11" * 20))
    assert await store.integrity_check() == []
    (task,) = await store.live()
    assert (task.state, task.payment, task.data) == (TaskState.ADMITTED, 10**19, '{"a": 1}')
    assert [line.after for line in await store.history(task.address)] == [TaskState.SEEN, TaskState.ADMITTED]
    (row,) = await store.open_intents()
    (tx,) = await store.signed(row.intent.key)
    assert (row.tx_hash, row.nonce, tx.raw) == (tx.hash, 3, b"\x02raw")
    (source,) = await store.sources()
    assert source.params is not None
    assert [(wish.subject, wish.want) for wish in await store.wishes()] == [("pause", Want.PAUSE)]
    approval = await store.approval(source.address)
    assert approval is not None
    assert (approval.images, approval.waived, approval.by_operator) == (("x/y:1",), ("compose.shm_size",), True)
    (learnt,) = await store.learnt()
    assert (learnt.key, learnt.recent) == (Key(Fact.RUN, source.address, "multiply"), (1.5, 0.5))
    assert source.device_memory == 4 << 30
    assert [cordon.lifted_at for cordon in await store.cordons(lifted=True)] == [1700000008.0, None]
    assert await store.result(task.address) == b'{"result": 2}'
    assert await store.cursor() == (12, "0x" + "0c" * 32)
    await store.close()


WRITER = """
import asyncio, sys
from dataclasses import replace
from pathlib import Path
from ogpu_provider.domain.intent import Effect, Intent, SignedTx
from ogpu_provider.domain.task import Task, TaskState, Transition
from ogpu_provider.domain.intent import Effect, Intent, IntentState, SignedTx
from ogpu_provider.store.sqlite import SqliteStore

async def main():
    store = await SqliteStore.open(Path(sys.argv[1]), chain_id=1, provider="0x" + "aa" * 20)
    start = len(await store.tasks(limit=10**6))
    for n in range(start, 10**6):
        address = f"0x{n:040x}"
        task = Task(address, "0x50", TaskState.SEEN, n, float(n))
        await store.insert([task])
        intent = Intent(f"k{n}", Effect.ATTEMPT, address, "0x1", b"x")
        await store.save(task, Transition(TaskState.ADMITTED, {"data": "y" * 2000}, intent=intent), at=1.0, boot="b")
        await store.put_signed(SignedTx(f"0xh{n}", f"k{n}", n, b"raw", 1, 1, 1, 1.0))
        print(n, flush=True)

asyncio.run(main())
"""


async def test_a_kill_at_any_moment_loses_nothing_that_was_promised(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    for wanted in (5, 23, 61, 102):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        promised = -1
        for line in process.stdout:
            promised = int(line)
            if promised >= wanted:
                process.send_signal(signal.SIGKILL)
                break
        rest = process.stdout.read().split()
        process.stdout.close()
        promised = int(rest[-1]) if rest and rest[-1].isdigit() else promised
        assert process.wait() == -signal.SIGKILL
        store = await SqliteStore.open(path, chain_id=1, provider=Address("0x" + "aa" * 20))
        assert await store.integrity_check() == []
        rows = {task.seen_block: task for task in await store.tasks(limit=10**6)}
        for n in range(promised + 1):
            assert rows[n].state is TaskState.ADMITTED
            assert len(await store.signed(f"k{n}")) == 1
        for task in rows.values():  # a step and its intent are there together or not at all
            planned = await store.intent(f"k{task.seen_block}")
            assert (planned is not None) == (task.state is TaskState.ADMITTED)
            assert len(await store.history(task.address)) == task.version + 1
        # The writer continues behind the last row; finish the one that the kill cut off.
        for task in rows.values():
            if task.state is TaskState.SEEN or not await store.signed(f"k{task.seen_block}"):
                await _finish(store, task)
        await store.close()


async def _finish(store: SqliteStore, task: Task) -> None:
    n = task.seen_block
    if task.state is TaskState.SEEN:
        intent = Intent(f"k{n}", Effect.ATTEMPT, task.address, Address("0x1"), b"x")
        await store.save(task, Transition(TaskState.ADMITTED, intent=intent), at=1.0, boot="b")
    await store.put_signed(SignedTx(Hash(f"0xh{n}"), f"k{n}", n, b"raw", 1, 1, 1, 1.0))


async def test_earnings_count_what_stands_once_and_every_fee(tmp_path: Path) -> None:
    store = await opened(tmp_path / "journal.db")
    paid = replace(TASK, payment=10**17, environment=Environment.NVIDIA)
    failed = replace(paid, address=Address("0x" + "02" * 20), state=TaskState.EXECUTING)
    again = replace(paid, address=Address("0x" + "03" * 20), state=TaskState.SUBMITTED)
    await store.insert([replace(paid, state=TaskState.RESPONDED), failed, again])
    await store.save(replace(paid, state=TaskState.RESPONDED), Transition(TaskState.SETTLED), at=200.0, boot="b")
    settled = await store.save(again, Transition(TaskState.SETTLED), at=150.0, boot="b")
    await store._database.write(
        lambda c: c.execute(
            "INSERT INTO journal (task, at, after, boot, reasons, detail) VALUES (?, 300, 'settled', '', '[]', '{}')",
            (settled.address,),
        )
    )
    await store.save_source(ServedSource(TASK.source, SourceState.READY, environment=Environment.NVIDIA))
    for nonce, (effect, subject, state, fee) in enumerate(
        [
            (Effect.ATTEMPT, TASK.address, IntentState.CONFIRMED, 5),
            (Effect.ATTEMPT, failed.address, IntentState.REVERTED, 7),
            (Effect.REGISTER, TASK.source, IntentState.CONFIRMED, 11),
            (Effect.ANNOUNCE_MASTER, ME, IntentState.CONFIRMED, 13),
            (Effect.UNREGISTER, TASK.source, IntentState.ABANDONED, None),
        ]
    ):
        await store.plan(Intent(f"{nonce}", effect, subject, ME, b""), at=100.0)
        await store.set_state(f"{nonce}", state, at=110.0 + nonce, fee_paid=fee)
    entries = await store.entries()
    assert [(e.kind, e.paid, e.fee, e.source, e.environment) for e in entries] == [
        ("attempt", 0, 5, TASK.source, Environment.NVIDIA),
        ("attempt", 0, 7, TASK.source, Environment.NVIDIA),
        ("register", 0, 11, TASK.source, Environment.NVIDIA),
        ("announceMaster", 0, 13, None, None),
        ("payment", 10**17, 0, TASK.source, Environment.NVIDIA),
        ("payment", 10**17, 0, TASK.source, Environment.NVIDIA),
    ]
    assert [entry.at for entry in entries][-2:] == [200.0, 300.0]
    assert [entry.kind for entry in await store.entries(112.5)] == ["announceMaster", "payment", "payment"]
    await store.close()
