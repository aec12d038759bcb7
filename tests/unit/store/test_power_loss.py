"""What the disk holds when the power goes: the file with a part of its log, or a file that something has damaged.

Each prefix of the log opens as the journal was at some commit, with every step whole, and nothing that was answered
before its last byte was written is missing. A damaged or cut file is refused, or says only what was true.
"""

import random
import shutil
import sqlite3
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ogpu_provider.domain.errors import StoreError
from ogpu_provider.domain.intent import Effect, Intent, IntentState, SignedTx
from ogpu_provider.domain.task import Task, TaskState, Transition
from ogpu_provider.domain.units import Address, Hash
from ogpu_provider.store.sqlite import SqliteStore
from tests.sizes import size

ME = Address("0x" + "aA" * 20)
TASKS = 12
CUTS = size("power cuts")
HEADER, FRAME_HEADER = 32, 24
"""Bytes of the log's head and of what stands before each of its pages (sqlite.org/fileformat2.html#walformat)."""


async def opened(path: Path) -> SqliteStore:
    return await SqliteStore.open(path, chain_id=1071, provider=ME)


def task(n: int) -> Task:
    return Task(Address(f"0x{n:040x}"), Address("0x" + "50" * 20), TaskState.SEEN, n, float(n))


def intent(n: int) -> Intent:
    return Intent(f"1071:attempt:{n}", Effect.ATTEMPT, task(n).address, Address("0x" + "22" * 20), b"data")


@dataclass
class Promised:
    """After how many bytes of the log what was answered."""

    bytes: int
    tasks: int
    planned: int
    signed: int


async def a_life(path: Path) -> list[Promised]:
    """Tasks are seen, admitted with an intent, signed; what was promised after each answer. The log is never folded
    into the file, so that all of it is there."""
    store = await opened(path)
    wal = path.with_name(path.name + "-wal")
    await store._database.read(lambda c: c.execute("PRAGMA wal_autocheckpoint = 0").fetchone())
    told = []
    for n in range(TASKS):
        await store.insert([task(n)])
        told.append(Promised(wal.stat().st_size, n + 1, n, n))
        admitted = Transition(TaskState.ADMITTED, {"data": "x" * 3000}, intent=intent(n))
        await store.save(task(n), admitted, at=1.0, boot="b")
        told.append(Promised(wal.stat().st_size, n + 1, n + 1, n))
        await store.put_signed(SignedTx(Hash(f"0xh{n}"), intent(n).key, n, b"raw", 1, 1, 1, 1.0))
        told.append(Promised(wal.stat().st_size, n + 1, n + 1, n + 1))
    for file in (path, wal):  # as the disk has it: closing would fold the log into the file
        shutil.copy(file, file.with_name("kept" + file.name.removeprefix("journal")))
    await store.close()
    return told


def cuts(length: int, page: int) -> list[int]:
    """At the edges of frames, and within some."""
    frames = range(HEADER, length + 1, FRAME_HEADER + page)
    dice = random.Random(5)
    inside = [dice.randrange(length) for _ in range(CUTS // 3)]
    return sorted({0, 7, HEADER - 1, *dice.sample(frames, min(CUTS, len(frames))), *inside, length})


async def test_the_journal_recovers_from_every_prefix_of_its_log(tmp_path: Path) -> None:
    told = await a_life(tmp_path / "journal.db")
    log = (tmp_path / "kept.db-wal").read_bytes()
    page = int.from_bytes(log[8:12], "big")
    before = -1
    for cut in cuts(len(log), page):
        path = tmp_path / f"cut{cut}" / "journal.db"
        path.parent.mkdir()
        shutil.copy(tmp_path / "kept.db", path)
        path.with_name("journal.db-wal").write_bytes(log[:cut])
        there = await recovered(path)
        promised = max((one for one in told if one.bytes <= cut), key=lambda one: one.bytes, default=None)
        if promised is not None:
            assert there.tasks >= promised.tasks, cut
            assert there.planned >= promised.planned, cut
            assert there.signed >= promised.signed, cut
        assert sum((there.tasks, there.planned, there.signed)) >= before, "more of the log is never less of the journal"
        before = sum((there.tasks, there.planned, there.signed))
    assert before == 3 * TASKS


async def recovered(path: Path) -> Promised:
    """What the journal says after it was opened: always a beginning of the life, step by step."""
    store = await opened(path)
    assert await store.integrity_check() == []
    rows = {row.seen_block: row for row in await store.tasks(limit=1000)}
    assert sorted(rows) == list(range(len(rows)))
    planned = signed = 0
    for n, row in rows.items():
        lines, kept = await store.history(row.address), await store.intent(intent(n).key)
        assert len(lines) == row.version + 1
        assert (row.state is TaskState.ADMITTED) == (kept is not None), "a step and its intent, or neither"
        bytes_of = await store.signed(intent(n).key) if kept else []
        if kept is not None:
            assert (kept.state is IntentState.SIGNED) == (len(bytes_of) == 1)
        planned, signed = planned + (kept is not None), signed + len(bytes_of)
    await store.insert([task(500)])  # and it goes on
    await store.close()
    return Promised(0, len(rows), planned, signed)


async def test_a_log_whose_end_is_torn_or_of_older_times_counts_up_to_there(tmp_path: Path) -> None:
    """A sector of the last write did not reach the disk: what was there before stands in its place."""
    told = await a_life(tmp_path / "journal.db")
    log = bytearray((tmp_path / "kept.db-wal").read_bytes())
    dice = random.Random(6)
    for n in range(20):
        torn = log.copy()
        at = dice.randrange(told[-4].bytes, len(log) - 512)
        torn[at : at + 512] = dice.choice([bytes(512), log[HEADER : HEADER + 512]])
        path = tmp_path / f"torn{n}" / "journal.db"
        path.parent.mkdir()
        shutil.copy(tmp_path / "kept.db", path)
        path.with_name("journal.db-wal").write_bytes(torn)
        there = await recovered(path)
        promised = max((one for one in told if one.bytes <= at), key=lambda one: one.bytes)
        assert there.signed >= promised.signed


@pytest.mark.parametrize("harm", ["cut", "flipped", "blank page"])
async def test_a_damaged_file_is_refused_or_says_only_what_was_true(tmp_path: Path, harm: str) -> None:
    """Refused means: the operator is told what to do, and nothing is attempted, paid or run from it."""
    store = await opened(tmp_path / "journal.db")
    for n in range(TASKS * 10):
        await store.insert([replace(task(n), data="y" * 500)])
    await store.close()
    body = (tmp_path / "journal.db").read_bytes()
    dice, refused = random.Random(7), 0
    for n in range(30):
        path = tmp_path / f"{n}" / "journal.db"
        path.parent.mkdir()
        path.write_bytes(damaged(body, harm, dice))
        found = await said(path)
        if isinstance(found, StoreError):
            assert found.code in {"store.corrupt", "store.foreign_file"}, found
            assert found.remedy
            refused += 1
        elif harm == "flipped":  # a value may have become another: the file has no sums over its values
            assert len(found) == TASKS * 10
        else:
            assert found == [replace(task(n), data="y" * 500) for n in reversed(range(TASKS * 10))]
    assert refused >= 10


async def said(path: Path) -> list[Task] | StoreError:
    try:
        store = await opened(path)
    except StoreError as error:
        return error
    try:
        return await store.tasks(limit=1000)
    except StoreError as error:
        return error
    finally:
        await store.close()


def damaged(body: bytes, harm: str, dice: random.Random) -> bytes:
    if harm == "cut":
        return body[: dice.randrange(100, len(body) - 4096)]
    broken = bytearray(body)
    page = 4096 * dice.randrange(len(body) // 4096)
    if harm == "blank page":
        broken[page : page + 4096] = bytes(4096)
    else:
        for _ in range(40):
            broken[page + dice.randrange(4096)] ^= 1 << dice.randrange(8)
    return bytes(broken)


async def test_a_file_of_no_bytes_is_a_journal_that_was_lost(tmp_path: Path) -> None:
    """It begins anew, and the chain says what is owed (`test_restart.py::test_a_lost_journal_is_made_up_for...`)."""
    path = tmp_path / "journal.db"
    path.touch(mode=0o600)
    store = await opened(path)
    assert await store.live() == []
    assert await store.cursor() is None
    await store.close()


async def test_a_journal_whose_log_is_lost_is_an_older_one(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    await a_life(path)
    shutil.copy(tmp_path / "kept.db", tmp_path / "older.db")
    connection = sqlite3.connect(tmp_path / "older.db")
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    store = await opened(tmp_path / "older.db")
    assert await store.tasks() == []
    await store.close()
