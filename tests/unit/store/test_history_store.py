"""The chain's past in its file: whatever the order in which blocks are read, the same past."""

from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogpu_provider.domain.errors import StoreError
from ogpu_provider.domain.facts import Attempted, Origin, ResponseSubmitted, TaskStatus, TaskStatusChanged
from ogpu_provider.domain.history import Passage, PastTask, Publication, Span, gaps
from ogpu_provider.domain.source import DeliveryMethod, Environment, SourceParams, SourceStatus
from ogpu_provider.domain.units import Address, Hash
from ogpu_provider.store.history import HistoryStore

TASK, LATER, RESPONSE, SECOND = (Address("0x" + digit * 40) for digit in "abcd")
SOURCE, PROVIDER = Address("0x" + "12" * 20), Address("0x" + "34" * 20)
HUGE = 2**255


def name(block: int) -> Hash:
    return Hash(f"0x{block:064x}")


def at(block: int) -> Origin:
    return Origin(block, name(block), name(block), 0)


def attempted(block: int) -> tuple[int, Attempted]:
    return 1000 + block, Attempted(at(block), TASK, PROVIDER, 1)


PASSAGES = (
    Passage(1, 10, name(10), 1010, [Publication(TASK, SOURCE, 5, 3, 1005, HUGE, HUGE)], [attempted(6), attempted(8)]),
    Passage(11, 20, name(20), 1020, [], [(1012, ResponseSubmitted(at(12), SECOND, TASK)), attempted(11)]),
    Passage(
        21,
        30,
        name(30),
        1030,
        [Publication(LATER, SOURCE, 25, 0, 1025, 0, 2000)],
        [
            (1022, ResponseSubmitted(at(22), RESPONSE, TASK)),
            (1022, TaskStatusChanged(at(22), TASK, TaskStatus.RESPONDED)),
            (1023, TaskStatusChanged(at(23), TASK, TaskStatus.FINALIZED)),
        ],
    ),
)
WHOLE = [
    PastTask(TASK, SOURCE, 5, 1005, HUGE, HUGE, 3, 1006, 1012, SECOND, 1023, TaskStatus.FINALIZED),
    PastTask(LATER, SOURCE, 25, 1025, 0, 2000),
]


async def kept(store: HistoryStore, since: float = 0.0) -> list[PastTask]:
    return [task async for portion in store.tasks(since) for task in portion]


async def test_blocks_in_any_order_make_the_same_past(tmp_path: Path) -> None:
    for number, order in enumerate(permutations(PASSAGES)):
        store = await HistoryStore.open(tmp_path / f"{number}.db", network="n")
        for passage in order:
            await store.keep(passage)
        assert await kept(store) == WHOLE
        assert await store.spans() == [Span(1, 30, name(30), 1030)]
        assert await store.durations() == {SOURCE: [6]}
        await store.close()


async def test_what_is_asked_for_can_begin_late_and_be_one_task(tmp_path: Path) -> None:
    store = await HistoryStore.open(tmp_path / "h.db", network="n")
    for passage in PASSAGES:
        await store.keep(passage)
    assert await kept(store, 1006) == WHOLE[1:]
    assert await kept(store, 1026) == []
    assert await store.task(TASK) == WHOLE[0]
    assert await store.task(RESPONSE) is None
    assert (await store.count(), await store.count(1006)) == (2, 1)
    terms = SourceParams(
        *(SOURCE, PROVIDER, "u", frozenset({Environment.CPU}), HUGE, 0, 60),
        delivery=DeliveryMethod.FIRST_RESPONSE,
        last_update=1,
        status=SourceStatus.ACTIVE,
    )
    assert await store.sources() == {SOURCE: None}
    await store.keep_params([terms])
    assert await store.sources() == {SOURCE: terms}
    assert await store.sources(1026) == {}
    await store.close()


async def test_the_file_survives_is_of_one_chain_and_of_one_command_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    store = await HistoryStore.open(path, network="n")
    await store.belongs("genesis", "a")
    await store.keep(PASSAGES[0])
    with pytest.raises(StoreError, match="another command") as caught:
        await HistoryStore.open(path, network="n")
    assert caught.value.code == "store.locked"
    await store.close()
    assert path.stat().st_mode & 0o777 == 0o600
    store = await HistoryStore.open(path, network="n")
    await store.belongs("genesis", "a")
    assert await store.count() == 1
    await store.belongs("genesis", "b")
    assert (await store.count(), await store.spans(), await store.task(TASK)) == (0, [], None)
    await store.keep(PASSAGES[0])
    await store.close()
    store = await HistoryStore.open(path, network="other")
    assert await store.count() == 0
    await store.close()


@given(st.sets(st.integers(0, 30)), st.integers(0, 30), st.integers(0, 30))
def test_gaps_are_exactly_what_was_not_read(read: set[int], first: int, last: int) -> None:
    spans: list[Span] = []
    for block in sorted(read):
        if spans and spans[-1].last == block - 1:
            spans[-1] = Span(spans[-1].first, block, name(block), block)
        else:
            spans.append(Span(block, block, name(block), block))
    found = [block for low, high in gaps(spans, first, last) for block in range(low, high + 1)]
    assert found == sorted(set(range(first, last + 1)) - read)
