"""What the journal and its twin in memory promise about what was learnt, and about cordons."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from ogpu_provider.domain.cordon import Cordon
from ogpu_provider.domain.learnt import Fact, Key, Learnt
from ogpu_provider.domain.source import ServedSource, SourceState
from ogpu_provider.domain.units import Address
from ogpu_provider.domain.verdict import Reason
from ogpu_provider.store.memory import MemoryStore
from ogpu_provider.store.sqlite import SqliteStore

SOURCE = Address("0x" + "50" * 20)
RUN = Learnt(Key(Fact.RUN, SOURCE, "multiply")).with_sample(0.25, at=1.0)
PEAK = Learnt(Key(Fact.PEAK_MEMORY, "sha256:aa", "NVIDIA RTX 4090")).with_sample(2**40, at=2.0)
XID = Reason("gpu.xid", "Xid 79")


@pytest.fixture(params=["sqlite", "memory"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqliteStore | MemoryStore]:
    made: SqliteStore | MemoryStore = MemoryStore()
    if request.param == "sqlite":
        made = await SqliteStore.open(tmp_path / "journal.db", chain_id=1, provider=SOURCE)
    yield made
    await made.close()


async def test_facts_are_kept_by_key_and_the_newest_counts(store: SqliteStore | MemoryStore) -> None:
    assert await store.learnt() == []
    await store.keep_learnt([RUN, PEAK])
    more = RUN.with_sample(4.5, at=3.0)
    await store.keep_learnt([more])
    await store.keep_learnt([])
    assert await store.learnt() == [PEAK, more]
    rate = Learnt(Key(Fact.PULL_RATE)).with_sample(1e6, at=4.0)
    await store.keep_learnt([rate])
    assert rate in await store.learnt()
    await store.keep_learnt([Learnt(rate.key), Learnt(Key(Fact.WON, "never known"))])
    assert await store.learnt() == [PEAK, more], "what has no samples is forgotten"


async def test_a_card_has_one_standing_cordon_and_a_history(store: SqliteStore | MemoryStore) -> None:
    first, second = Cordon("GPU-1", "card", XID, 5.0), Cordon("GPU-2", "card", XID, 6.0)
    await store.cordon(first)
    await store.cordon(replace(first, at=5.5, reason=Reason("gpu.ecc", "again")))
    await store.cordon(second)
    assert await store.cordons() == [first, second]
    await store.uncordon("GPU-1", at=7.0, by="its test passed")
    await store.uncordon("GPU-1", at=8.0, by="nothing to lift")
    assert await store.cordons() == [second]
    await store.cordon(replace(first, at=9.0))
    lifted = replace(first, lifted_at=7.0, lifted_by="its test passed")
    assert await store.cordons(lifted=True) == [lifted, second, replace(first, at=9.0)]


async def test_how_much_of_its_devices_a_source_holds_is_kept(store: SqliteStore | MemoryStore) -> None:
    row = ServedSource(SOURCE, SourceState.READY, devices=("GPU-1",), device_memory=6 << 30)
    await store.save_source(row)
    assert await store.sources() == [row]
