"""A start that finds a long history of other people's tasks: its own are found, and the others cost next to nothing."""

import gc
import tracemalloc
from pathlib import Path

import pytest

from benchmarks.history import OURS, Past, Told, catch_up
from tests.fakes.node import FakeNode
from tests.sizes import size

LOGS = size("historic logs")
PER_BLOCK = 10
MIB = 2**20


async def told_of(folder: Path, past: Past) -> Told:
    folder.mkdir()
    async with FakeNode(past.archive.reply) as node:
        return await catch_up(folder, node.http_url, past)


@pytest.mark.parametrize("deaf", [False, True], ids=["a node that filters", "a node that ignores filters"])
async def test_of_a_long_history_only_ours_is_delivered_and_no_other_block_is_asked_for(
    tmp_path: Path, deaf: bool
) -> None:
    past = Past(LOGS // PER_BLOCK, PER_BLOCK, deaf=deaf)
    told = await told_of(tmp_path / "one", past)
    assert past.archive.given >= LOGS, "every log was read"
    assert told.tasks == list(past.ours.values())
    assert told.facts == OURS
    ranges = told.counts["eth_getLogs"]
    assert ranges <= LOGS / 2_500 + 40
    assert told.counts["eth_getBlockByNumber"] <= 2 * ranges + 2 * OURS + 40
    assert told.deliveries <= ranges + OURS
    assert told.cursor == (past.blocks, past.archive.header(past.blocks)["hash"])


async def test_memory_is_bounded_by_one_answer_and_nothing_of_the_history_stays(tmp_path: Path) -> None:
    await told_of(tmp_path / "first", Past(10, PER_BLOCK))  # imports, caches
    gc.collect()
    tracemalloc.start()
    try:
        await told_of(tmp_path / "second", Past(LOGS // PER_BLOCK, PER_BLOCK))
        peak = tracemalloc.get_traced_memory()[1]
        gc.collect()
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert peak < 96 * MIB, "10,000 logs, as JSON and as facts, at both ends"
    assert kept < 4 * MIB
