"""What a journal and an outbox promise, asked of the file and of its twin in memory."""

from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ogpu_provider.chain.outbox import Outbox
from ogpu_provider.domain.approval import Approval
from ogpu_provider.domain.errors import KnownIntent, StaleRow, StoreError
from ogpu_provider.domain.facts import Block
from ogpu_provider.domain.intent import Effect, GasUsed, Intent, IntentState, SignedTx
from ogpu_provider.domain.source import (
    DeliveryMethod,
    Environment,
    ServedSource,
    SourceParams,
    SourceState,
    SourceStatus,
)
from ogpu_provider.domain.task import EDGES, ResultOutcome, Task, TaskState, Transition
from ogpu_provider.domain.units import Address, Hash
from ogpu_provider.domain.verdict import Reason
from ogpu_provider.domain.wish import Want, Wish
from ogpu_provider.pipeline.journal import Journal
from ogpu_provider.store.memory import MemoryStore
from ogpu_provider.store.sqlite import SqliteStore
from tests.sizes import size

ME = Address("0x" + "aa" * 20)
SOURCE = Address("0x" + "50" * 20)
Store = SqliteStore | MemoryStore


def address(n: int) -> Address:
    return Address(f"0x{n:040x}")


def hash_of(n: int) -> Hash:
    return Hash(f"0x{n:064x}")


def seen(n: int = 1, **changes: object) -> Task:
    return replace(Task(address(n), SOURCE, TaskState.SEEN, 10, 100.0, boot="b1"), **changes)  # type: ignore[arg-type]


def intent(n: int = 1, effect: Effect = Effect.ATTEMPT) -> Intent:
    return Intent(f"1:{effect}:{address(n)}", effect, address(n), address(99), b"\x01\x02", 500.0)


def signed(n: int, nonce: int, key: str) -> SignedTx:
    return SignedTx(hash_of(n), key, nonce, b"raw%d" % n, 100_000, 10**19, 10**9, 7.0)


@pytest.fixture(params=["sqlite", "memory"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    made: Store = MemoryStore()
    if request.param == "sqlite":
        made = await SqliteStore.open(tmp_path / "journal.db", chain_id=1, provider=ME)
    yield made
    await made.close()


def test_both_are_a_journal_and_an_outbox() -> None:
    journals: list[type[Journal]] = [SqliteStore, MemoryStore]
    outboxes: list[type[Outbox]] = [SqliteStore, MemoryStore]
    assert len(journals) == len(outboxes)


async def test_insert_returns_only_new_rows_and_moves_the_cursor(store: Store) -> None:
    assert await store.cursor() is None
    block = Block(7, hash_of(7), hash_of(6), 1000)
    assert await store.insert([seen(1), seen(2)], block) == [seen(1), seen(2)]
    assert await store.cursor() == (7, hash_of(7))
    assert await store.insert([seen(2, payment=5), seen(3)]) == [seen(3)]
    assert await store.cursor() == (7, hash_of(7))
    assert [t.address for t in await store.live()] == [address(1), address(2), address(3)]
    assert (await store.task(address(2))) == seen(2)
    assert await store.task(address(9)) is None


async def test_rows_that_blocks_above_a_number_touched(store: Store) -> None:
    early = seen(1), seen(2, finalized_block=20), seen(3, state=TaskState.SUBMITTED)
    late = replace(seen(4), seen_block=15), seen(5, state=TaskState.LOST, finalized_block=16)
    await store.insert([*early, *late])
    assert await store.touched_above(14) == [early[1], early[2], *late]
    assert await store.touched_above(15) == [early[1], early[2], late[1]]
    assert await store.touched_above(100) == [early[2]]


async def test_the_cursor_may_go_back(store: Store) -> None:
    await store.insert([], Block(7, hash_of(7), hash_of(6), 1))
    await store.insert([], Block(6, hash_of(66), hash_of(5), 1))
    assert await store.cursor() == (6, hash_of(66))


async def test_every_field_survives(store: Store) -> None:
    full = seen(
        1,
        version=3,
        updated_at=5.5,
        obliged=True,
        payment=2**256 - 1,
        expiry=2**256 - 1,
        config_url="ipfs://ü",
        delivery=DeliveryMethod.FIRST_RESPONSE,
        environment=Environment.NVIDIA,
        function="multiply",
        data='{"a": 1}',
        slots=2,
        devices=("GPU-1", "GPU-2"),
        deadline=9.25,
        dispatches=1,
        accepted_at=8.5,
        cid="bafy",
        link="https://x/bafy",
        response=address(77),
        finalized_block=12,
        code="c",
        reason="r",
    )
    await store.insert([full])
    assert await store.task(full.address) == full
    assert await store.live() == [full]


async def test_save_moves_row_line_and_intent_together(store: Store) -> None:
    task = seen(1)
    await store.insert([task])
    step = Transition(
        TaskState.ADMITTED,
        {"slots": 1, "devices": ("GPU-1",), "data": "x" * 100, "environment": Environment.CPU},
        intent=intent(1),
    )
    moved = await store.save(task, step, at=101.0, boot="b2")
    assert moved == replace(
        task,
        state=TaskState.ADMITTED,
        slots=1,
        devices=("GPU-1",),
        data="x" * 100,
        environment=Environment.CPU,
        version=1,
        boot="b2",
        updated_at=101.0,
    )
    assert await store.task(task.address) == moved
    first, line = await store.history(task.address)
    assert (first.before, first.after, first.at) == (None, TaskState.SEEN, 100.0)
    assert (line.before, line.after, line.at, line.boot) == (TaskState.SEEN, TaskState.ADMITTED, 101.0, "b2")
    assert line.detail == {"slots": 1, "devices": ["GPU-1"], "environment": 1, "intent": intent(1).key}
    row = await store.intent(intent(1).key)
    assert row is not None
    assert (row.intent, row.state, row.planned_at) == (intent(1), IntentState.PLANNED, 101.0)
    assert await store.intents_of(address(1)) == [row]


async def test_the_same_effect_is_never_planned_twice(store: Store) -> None:
    task = seen(1)
    await store.insert([task])
    assert await store.plan(intent(1), at=1.0) is True
    assert await store.plan(replace(intent(1), data=b"other"), at=2.0) is False
    await store.save(task, Transition(TaskState.ADMITTED, intent=replace(intent(1), data=b"third")), at=3.0, boot="b")
    (row,) = await store.open_intents()
    assert (row.intent, row.planned_at) == (intent(1), 1.0)


async def test_steps_saved_together_leave_a_line_each(store: Store) -> None:
    task = seen(1)
    await store.insert([task])
    steps = (
        Transition(TaskState.ADMITTED, {"slots": 2}),
        Transition(TaskState.READY),
        Transition(TaskState.ATTEMPTED, {"payment": 5}, intent=intent(1)),
    )
    moved = await store.save(task, *steps, at=101.0, boot="b2")
    assert moved == await store.task(task.address)
    assert (moved.state, moved.version, moved.slots, moved.payment) == (TaskState.ATTEMPTED, 3, 2, 5)
    lines = [(line.before, line.after, line.at) for line in await store.history(task.address)][1:]
    path = (TaskState.SEEN, TaskState.ADMITTED, TaskState.READY, TaskState.ATTEMPTED)
    assert lines == [(before, after, 101.0) for before, after in pairwise(path)]
    assert (await store.history(task.address))[-1].detail == {"payment": 5, "intent": intent(1).key}
    assert [row.intent for row in await store.open_intents()] == [intent(1)]


async def test_of_steps_saved_together_none_is_kept_if_one_is_no_edge(store: Store) -> None:
    task = seen(1)
    await store.insert([task])
    with pytest.raises(StoreError) as error:
        await store.save(
            task, Transition(TaskState.ADMITTED), Transition(TaskState.PINNED, intent=intent(1)), at=1.0, boot="b"
        )
    assert error.value.code == "store.no_edge"
    assert await store.task(task.address) == task
    assert await store.open_intents() == []


async def test_a_step_its_intent_and_its_signed_bytes_are_kept_together_or_not_at_all(store: Store) -> None:
    task = seen(1)
    await store.insert([task])
    one, other = signed(1, 5, intent(1).key), signed(2, 5, intent(2).key)
    step = Transition(TaskState.ADMITTED, intent=intent(1))
    saved = await store.save(task, step, at=1.0, boot="b", signed=[one])
    assert await store.task(task.address) == saved
    assert await store.planned_intents() == []
    (row,) = await store.open_intents()
    assert (row.intent, row.state, row.nonce, row.tx_hash) == (intent(1), IntentState.SIGNED, 5, one.hash)
    assert await store.signed(intent(1).key) == [one]

    again = Transition(TaskState.READY, intent=intent(1))
    with pytest.raises(KnownIntent):
        await store.save(saved, again, at=2.0, boot="b", signed=[signed(3, 6, intent(1).key)])
    with pytest.raises(StaleRow):
        await store.save(task, replace(step, intent=intent(2)), at=2.0, boot="b", signed=[signed(2, 6, intent(2).key)])
    with pytest.raises(StoreError) as error:  # the nonce carries another intent
        await store.save(saved, replace(again, intent=intent(2)), at=2.0, boot="b", signed=[other])
    assert error.value.code == "store.nonce_taken"
    assert await store.task(task.address) == saved
    assert [row.intent for row in await store.open_intents()] == [intent(1)]
    assert (await store.highest_nonce(), await store.signed(intent(1).key)) == (5, [one])
    assert (await store.save(saved, again, at=3.0, boot="b")).state is TaskState.READY


async def test_bytes_signed_together_are_kept_all_or_none(store: Store) -> None:
    for n in range(3):
        await store.plan(intent(n), at=float(n))
    assert [row.intent for row in await store.planned_intents()] == [intent(0), intent(1), intent(2)]
    first, second, clash = (signed(n, nonce, intent(n).key) for n, nonce in ((0, 5), (1, 6), (2, 5)))
    with pytest.raises(StoreError) as error:
        await store.put_signed(first, second, clash)
    assert error.value.code == "store.nonce_taken"
    assert len(await store.planned_intents()) == 3
    assert await store.highest_nonce() is None
    await store.put_signed(first, second)
    assert [row.intent for row in await store.planned_intents()] == [intent(2)]
    assert await store.highest_nonce() == 6


async def test_a_stale_row_is_refused_and_changes_nothing(store: Store) -> None:
    task = seen(1)
    await store.insert([task])
    await store.save(task, Transition(TaskState.ADMITTED), at=1.0, boot="b")
    with pytest.raises(StaleRow):
        await store.save(task, Transition(TaskState.DECLINED, intent=intent(1)), at=2.0, boot="b")
    with pytest.raises(StaleRow):
        await store.amend(task, {"payment": 1}, at=2.0)
    assert await store.intent(intent(1).key) is None
    assert len(await store.history(task.address)) == 2


async def test_a_row_that_is_not_there_cannot_be_saved(store: Store) -> None:
    with pytest.raises(StoreError) as caught:
        await store.save(seen(1), Transition(TaskState.ADMITTED), at=1.0, boot="b")
    assert caught.value.code == "store.no_task"


@pytest.mark.parametrize(("before", "after"), [(b, a) for b in TaskState for a in TaskState])
async def test_only_drawn_edges_are_walked(store: Store, before: TaskState, after: TaskState) -> None:
    task = seen(1, state=before)
    await store.insert([task])
    if after in EDGES[before]:
        assert (await store.save(task, Transition(after), at=1.0, boot="b")).state is after
        return
    with pytest.raises(StoreError) as caught:
        await store.save(task, Transition(after), at=1.0, boot="b")
    assert caught.value.code == "store.no_edge"
    assert await store.task(task.address) == task


async def test_an_end_takes_its_first_reason_and_a_return_drops_it(store: Store) -> None:
    task = seen(1)
    await store.insert([task])
    reasons = (Reason("payment.below_floor", "1 < 2"), Reason("x.y", "z"))
    declined = await store.save(task, Transition(TaskState.DECLINED, reasons=reasons), at=1.0, boot="b")
    assert (declined.code, declined.reason) == ("payment.below_floor", "1 < 2")
    assert await store.live() == []
    assert (await store.history(task.address))[-1].reasons == reasons
    back = await store.save(declined, Transition(TaskState.SEEN, {"obliged": True}), at=2.0, boot="b")
    assert (back.code, back.reason, back.obliged) == ("", "", True)
    assert await store.live() == [back]


@pytest.mark.parametrize("field", ["state", "version", "address", "source", "boot", "colour"])
async def test_a_step_cannot_change_what_the_store_keeps(store: Store, field: str) -> None:
    task = seen(1)
    await store.insert([task])
    for attempt in (
        store.save(task, Transition(TaskState.ADMITTED, {field: "x"}), at=1.0, boot="b"),
        store.amend(task, {field: "x"}, at=1.0),
    ):
        with pytest.raises(StoreError) as caught:
            await attempt
        assert caught.value.code == "store.bad_change"


async def test_half_a_character_is_an_error_of_ours(store: Store) -> None:
    task = seen(1)
    await store.insert([task])
    with pytest.raises(StoreError) as caught:
        await store.save(task, Transition(TaskState.ADMITTED, {"data": "\ud800"}), at=1.0, boot="b")
    assert caught.value.code == "store.bad_value"
    with pytest.raises(StoreError):
        await store.save(task, Transition(TaskState.FAILED, reasons=(Reason("a", "\udfff"),)), at=1.0, boot="b")
    assert await store.task(task.address) == task


async def test_amend_changes_fields_without_a_line(store: Store) -> None:
    task = seen(1)
    await store.insert([task])
    amended = await store.amend(task, {"function": "f", "data": "{}"}, at=4.0)
    assert (amended.function, amended.data, amended.version, amended.updated_at) == ("f", "{}", 1, 4.0)
    assert await store.task(task.address) == amended
    assert len(await store.history(task.address)) == 1


async def test_the_first_body_wins(store: Store) -> None:
    assert await store.put_result(address(1), b"x", at=1.0) is ResultOutcome.UNKNOWN
    await store.insert([seen(1), seen(2, state=TaskState.FAILED)])
    assert await store.result(address(1)) is None
    assert await store.put_result(address(1), b"\x00one", at=1.0) is ResultOutcome.STORED
    assert await store.put_result(address(1), b"\x00one", at=2.0) is ResultOutcome.SAME
    assert await store.put_result(address(1), b"two", at=3.0) is ResultOutcome.CONFLICT
    assert await store.result(address(1)) == b"\x00one"
    assert await store.put_result(address(2), b"x", at=1.0) is ResultOutcome.LATE
    assert await store.result(address(2)) is None


async def test_a_source_is_kept_whole_and_in_its_place(store: Store) -> None:
    params = SourceParams(
        address(5),
        address(6),
        "https://m",
        frozenset({Environment.CPU, Environment.AMD}),
        2**200,
        10**18,
        2**64,
        DeliveryMethod.MANUAL_CONFIRMATION,
        123,
        SourceStatus.ACTIVE,
    )
    a = ServedSource(address(5), SourceState.READY, "n", Environment.AMD, True, params, "ab" * 32, ("0",), "", "", 3.0)
    b = ServedSource(address(4), SourceState.WANTED)
    await store.save_source(a)
    await store.save_source(b)
    assert await store.sources() == [a, b]
    a = replace(a, state=SourceState.UNFIT, code="x", reason="y", params=None, environment=None)
    await store.save_source(a)
    assert await store.sources() == [a, b]


async def test_tasks_are_listed_newest_first_by_filters(store: Store) -> None:
    other = address(51)
    await store.insert([seen(1), seen(2, source=other, updated_at=50.0), seen(3, state=TaskState.FAILED)])
    assert [t.address for t in await store.tasks()] == [address(3), address(2), address(1)]
    assert [t.address for t in await store.tasks(limit=1)] == [address(3)]
    assert [t.address for t in await store.tasks(source=other)] == [address(2)]
    assert [t.address for t in await store.tasks(since=50.0)] == [address(2)]
    found = await store.tasks(states=(TaskState.SEEN,), source=SOURCE)
    assert [t.address for t in found] == [address(1)]
    assert await store.counts() == {TaskState.SEEN: 2, TaskState.FAILED: 1}


async def test_a_follower_reads_the_journal_from_where_it_was(store: Store) -> None:
    await store.insert([seen(1), seen(2)])
    await store.save(seen(1), Transition(TaskState.ADMITTED), at=1.0, boot="b")
    lines = await store.lines(limit=2)
    assert [line.task for _, line in lines] == [address(1), address(2)]
    (last,) = await store.lines(after=lines[-1][0])
    assert last[1].after is TaskState.ADMITTED


async def test_signed_bytes_move_the_intent(store: Store) -> None:
    await store.plan(intent(1), at=1.0)
    assert await store.highest_nonce() is None
    tx = signed(1, 4, intent(1).key)
    await store.put_signed(tx)
    await store.put_signed(tx)
    row = await store.intent(intent(1).key)
    assert row is not None
    assert (row.state, row.nonce, row.tx_hash, row.updated_at) == (IntentState.SIGNED, 4, tx.hash, 7.0)
    dearer = replace(signed(2, 4, intent(1).key), tip_fee=None)
    await store.put_signed(dearer)
    assert await store.signed(intent(1).key) == [tx, dearer]
    assert await store.highest_nonce() == 4
    for known in (tx.hash, dearer.hash):
        found = await store.intent_of(known)
        assert found is not None
        assert found.tx_hash == dearer.hash
    assert await store.intent_of(hash_of(3)) is None
    among = await store.intents_among({known, hash_of(3)})
    assert {tx: row.intent for tx, row in among.items()} == {known: intent(1)}
    assert await store.intents_among(set()) == {}


async def test_a_nonce_carries_one_intent(store: Store) -> None:
    await store.plan(intent(1), at=1.0)
    await store.plan(intent(2), at=1.0)
    await store.put_signed(signed(1, 4, intent(1).key))
    with pytest.raises(StoreError) as caught:
        await store.put_signed(signed(2, 4, intent(2).key))
    assert caught.value.code == "store.nonce_taken"
    row = await store.intent(intent(2).key)
    assert row is not None
    assert row.state is IntentState.PLANNED
    assert await store.signed(intent(2).key) == []


async def test_what_a_block_said_goes_with_the_block(store: Store) -> None:
    key = intent(1).key
    await store.plan(intent(1), at=1.0)
    await store.put_signed(signed(1, 0, key))
    await store.set_state(key, IntentState.SENT, at=2.0)
    mined = await store.set_state(
        key, IntentState.MINED, at=3.0, block_number=9, block_hash=hash_of(9), gas_used=21_000, fee_paid=10**20
    )
    assert (mined.block_number, mined.block_hash, mined.gas_used, mined.fee_paid) == (9, hash_of(9), 21_000, 10**20)
    again = await store.set_state(key, IntentState.MINED, at=3.5)
    assert again.block_number == 9
    undone = await store.set_state(key, IntentState.SENT, at=4.0)
    assert (undone.block_number, undone.block_hash, undone.gas_used, undone.fee_paid) == (None, None, None, None)
    assert (undone.nonce, undone.tx_hash) == (0, hash_of(1))
    assert await store.intent(key) == undone


async def test_a_closed_intent_stays_closed(store: Store) -> None:
    key = intent(1).key
    await store.plan(intent(1), at=1.0)
    await store.plan(intent(2), at=1.0)
    await store.set_state(key, IntentState.ABANDONED, at=2.0)
    assert [row.intent.key for row in await store.open_intents()] == [intent(2).key]
    await store.set_state(key, IntentState.ABANDONED, at=2.0)
    with pytest.raises(StoreError) as caught:
        await store.set_state(key, IntentState.SENT, at=3.0)
    assert caught.value.code == "store.intent_closed"
    with pytest.raises(StoreError):
        await store.put_signed(signed(1, 0, key))
    assert await store.signed(key) == []


async def test_an_unknown_intent_is_an_error(store: Store) -> None:
    for attempt in (store.set_state("no", IntentState.SENT, at=1.0), store.put_signed(signed(1, 0, "no"))):
        with pytest.raises(StoreError) as caught:
            await attempt
        assert caught.value.code == "store.no_intent"


TARGETS = st.lists(st.tuples(st.integers(0, 2), st.sampled_from(TaskState), st.booleans()), max_size=25)


@settings(
    max_examples=size("store histories"), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(moves=TARGETS)
async def test_the_twins_never_differ(
    moves: list[tuple[int, TaskState, bool]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("twins") / "journal.db"
    file, memory = await SqliteStore.open(path, chain_id=1, provider=ME), MemoryStore()
    stale: dict[int, Task] = {n: seen(n) for n in range(3)}
    for store in (file, memory):
        await store.insert([seen(n) for n in range(3)])
    for at, (n, target, fresh) in enumerate(moves):
        outcomes = []
        for store in (file, memory):
            task = (await store.task(address(n)) if fresh else None) or stale[n]
            step = Transition(target, {"payment": at}, (Reason("r", str(at)),), intent(n))
            try:
                outcomes.append(repr(await store.save(task, step, at=float(at), boot="b")))
            except StoreError as error:
                outcomes.append(error.code)
        assert outcomes[0] == outcomes[1]
    assert await file.live() == await memory.live()
    assert await file.tasks() == await memory.tasks()
    assert await file.lines() == await memory.lines()
    assert await file.open_intents() == await memory.open_intents()
    await file.close()


async def test_the_last_approval_of_a_source_holds(store: Store) -> None:
    assert await store.approval(SOURCE) is None
    await store.approve(Approval(SOURCE, "aa", 5.0, ("x/y:1",)))
    second = Approval(SOURCE, "bb", 6.0, (), ("compose.shm_size",), "large models", by_operator=True)
    await store.approve(second)
    assert await store.approval(SOURCE) == second


async def test_the_last_wish_about_a_subject_holds(store: Store) -> None:
    assert await store.wishes() == []
    await store.wish(Wish("pause", Want.PAUSE, 5.0))
    await store.wish(Wish(SOURCE, Want.SERVE, 6.0))
    await store.wish(Wish(SOURCE, Want.LEAVE, 7.0))
    assert await store.wishes() == [Wish("pause", Want.PAUSE, 5.0), Wish(SOURCE, Want.LEAVE, 7.0)]
    assert [wish.source for wish in await store.wishes()] == [None, SOURCE]
    await store.unwish("pause")
    await store.unwish("pause")
    assert [wish.subject for wish in await store.wishes()] == [SOURCE]


async def test_the_longest_of_the_last_runs_is_remembered(store: Store) -> None:
    assert await store.longest_run(SOURCE, "f") is None
    ran = [(1, "f", 10.0, 14.0), (2, "f", 20.0, 26.5), (3, "f", 30.0, 29.9), (4, "g", 40.0, 90.0), (5, "f", 0.0, 60.0)]
    for n, function, accepted, at in ran:
        await store.insert([seen(n, state=TaskState.EXECUTING, function=function, accepted_at=accepted)])
        await store.put_result(address(n), b"{}", at=at)
    await store.insert([seen(6, state=TaskState.EXECUTING, function="f", accepted_at=1.0)])
    assert await store.longest_run(SOURCE, "f") == 6.5
    assert await store.longest_run(SOURCE, "g") == 50.0
    assert await store.longest_run(address(51), "f") is None


async def test_what_was_paid_and_used_is_found_again(store: Store) -> None:
    much = 10**19  # more than SQLite's integers hold
    ends: dict[int, tuple[IntentState, float, dict[str, Any]]] = {
        1: (IntentState.CONFIRMED, 125.0, {"gas_used": 100, "fee_paid": much}),
        2: (IntentState.ABANDONED, 126.0, {"gas_used": 21, "fee_paid": 5}),  # by a void
        3: (IntentState.CONFIRMED, 60.0, {"gas_used": 90, "fee_paid": None}),
        4: (IntentState.REVERTED, 186.0, {"gas_used": 30, "fee_paid": 7}),
        5: (IntentState.CONFIRMED, 187.0, {}),  # by another path, unsent
    }
    for n, (state, at, found) in ends.items():
        await store.plan(intent(n), at=1.0)
        if found:
            await store.put_signed(replace(signed(n, n, intent(n).key), void=n == 2, gas=1000, max_fee=3))
        await store.set_state(intent(n).key, state, at=at, **found)
    await store.plan(intent(6), at=1.0)
    await store.put_signed(replace(signed(6, 6, intent(6).key), gas=1000))
    await store.set_state(intent(6).key, IntentState.MINED, at=188.0, gas_used=77, fee_paid=8)
    assert await store.paid_since(0.0) == [(60.0, 90 * 3), (126.0, much + 5), (186.0, 7)]
    assert await store.paid_since(126.0) == [(126.0, 5), (186.0, 7)]
    alike = [GasUsed(Effect.ATTEMPT, 1000, False, 30, 1), GasUsed(Effect.ATTEMPT, 1000, True, 100, 2)]
    assert sorted(await store.gas_used(100), key=lambda one: one.most) == alike
    assert await store.gas_used(1) == alike[:1], "the last one"
    assert await store.gas_used(2) == alike[:1], "and a void before it"
    assert await store.signed_at(9) == []
    assert [tx.hash for tx in await store.signed_at(3)] == [hash_of(3)]


@pytest.mark.parametrize("end", [IntentState.CONFIRMED, IntentState.REVERTED, IntentState.ABANDONED])
async def test_an_intent_opens_again_only_where_a_block_closed_it(store: Store, end: IntentState) -> None:
    for n in (1, 2):
        await store.plan(intent(n), at=1.0)
        await store.put_signed(signed(n, n, intent(n).key))
    await store.set_state(intent(1).key, end, at=2.0, block_number=9, block_hash=hash_of(9), gas_used=5, fee_paid=6)
    again = await store.set_state(intent(1).key, IntentState.SENT, at=3.0)
    assert (again.state, again.block_number, again.gas_used, again.fee_paid) == (IntentState.SENT, None, None, None)
    assert [row.intent.key for row in await store.open_intents()] == [intent(1).key, intent(2).key]
    await store.set_state(intent(2).key, end, at=2.0)
    with pytest.raises(StoreError):
        await store.set_state(intent(2).key, IntentState.SENT, at=3.0)
