"""A start takes no more memory the older a journal is: closed intents are read in figures, not in rows."""

import asyncio
import sqlite3
import tracemalloc
from dataclasses import dataclass
from pathlib import Path

from ogpu_provider.chain.fees import DayBudget, GasBook
from ogpu_provider.chain.sender import Sender
from ogpu_provider.domain.facts import Block
from ogpu_provider.domain.intent import Effect, Intent, IntentRow
from ogpu_provider.domain.units import Address
from ogpu_provider.store.sqlite import SqliteStore
from tests.fakes.clock import FakeClock
from tests.fakes.mempool import FakeMempool, FakeSigner
from tests.sizes import size

ME = Address("0x" + "aa" * 20)
INTENTS = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {many})
INSERT INTO intents SELECT i, '1:attempt:' || i, 'attempt', '0x' || i, '0x01', zeroblob(100), '0', NULL,
    CASE i % 10 WHEN 0 THEN 'reverted' ELSE 'confirmed' END, i, 'h' || i, i, 'b' || i, 80000 + i % 1000,
    '20000000000000', {end} - {many} + i, {end} - {many} + i FROM n
"""
SIGNED = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {many})
INSERT INTO signed SELECT i, 'h' || i, '1:attempt:' || i, i, zeroblob(200), 100000 + i % 20 * 1000, '3', '1', i, 0
FROM n
"""
CEILING = 3 << 20
"""Bytes for the day's minutes and the receipts that are alike; one row in memory a second of the day would not fit."""


class Older(FakeMempool):
    """A chain on which the key has sent `used` transactions."""

    def __init__(self, used: int) -> None:
        self._used = used
        super().__init__()

    @property
    def nonce(self) -> int:
        return self._used


@dataclass
class Ahead:
    block: Block | None


async def nobody(row: IntentRow) -> None:
    """Nobody waits for the outcome."""


async def old_journal(path: Path, many: int, end: float) -> SqliteStore:
    """With `many` closed intents, one a second, the last one at `end`."""
    store = await SqliteStore.open(path, chain_id=1, provider=ME)
    await store.close()
    with sqlite3.connect(path) as connection:
        for sql in (INTENTS, SIGNED):
            connection.execute(sql.format(many=many, end=int(end)))
    connection.close()
    return await SqliteStore.open(path, chain_id=1, provider=ME)


async def test_a_start_over_an_old_journal_takes_no_more_memory(tmp_path: Path) -> None:
    clock, many = FakeClock(), size("closed intents")
    store = await old_journal(tmp_path / "journal.db", many, clock.now())
    await store.plan(Intent("1:attempt:new", Effect.ATTEMPT, ME, ME, b""), at=clock.now())
    gas, budget = GasBook(), DayBudget(10**30)
    node = Older(many + 1)
    sender = Sender(node, store, FakeSigner(), clock, Ahead(node.head), nobody, gas=gas, budget=budget)
    tracemalloc.start()
    run = asyncio.create_task(sender.run())
    while not node.sends:
        assert not run.done()
        await asyncio.sleep(0.001)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    await store.close()
    assert peak < CEILING
    assert gas.limit(Effect.ATTEMPT) == 102_000, "a quarter more than 80,999"
    assert [tx.nonce for tx in node.pool.values()] == [many + 1]
    of_today = min(many, 86_401) * 20_000_000_000_000
    assert budget.allows(clock.now(), 10**30 - of_today)
    assert not budget.allows(clock.now(), 10**30 - of_today + 1)
