"""Each intent reaches the chain once, whatever is lost on the way."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ogpu_provider.chain.fees import DAY, START_GAS
from ogpu_provider.chain.wire import Call
from ogpu_provider.domain.errors import ForeignNonce, Retry, RpcUnavailable, StoreError, WrongNetwork
from ogpu_provider.domain.facts import Attempted, Block, Origin
from ogpu_provider.domain.intent import Effect, IntentRow, IntentState, SignedTx
from ogpu_provider.domain.killpoints import arm
from ogpu_provider.domain.units import Hash
from ogpu_provider.store.memory import MemoryStore
from tests.fakes.clock import settle
from tests.fakes.mempool import GWEI, ME, FakeMempool
from tests.sizes import size
from tests.unit.chain.sending import World, intent

_S = IntentState


async def test_the_way_to_the_first_broadcast_asks_for_nothing() -> None:
    world = World()
    async with world.running():
        before = world.node.asked.copy()
        await world.plan(intent(1))
        assert world.node.asked - before == {"eth_sendRawTransaction": 1}
        assert await world.state(intent(1)) is _S.SENT
        (tx,) = world.node.pool.values()
        assert (tx.nonce, tx.max_fee) == (0, 3 * GWEI)


async def test_signed_bytes_are_stored_before_they_are_sent() -> None:
    world = World()
    order: list[str] = []

    class Watched(MemoryStore):
        async def put_signed(self, *txs: SignedTx) -> None:
            await super().put_signed(*txs)
            order.append("stored")

    def note(method: str) -> str:
        if method == "eth_sendRawTransaction":
            order.append("sent")
        return ""

    world.store, world.node.fault = Watched(), note
    async with world.running():
        await world.plan(intent(1))
    assert order == ["stored", "sent"]


async def test_what_cannot_be_stored_is_not_sent() -> None:
    world = World()

    class Full(MemoryStore):
        full = True

        async def put_signed(self, *txs: SignedTx) -> None:
            if self.full:
                raise StoreError("disk", code="store.full", retry=Retry.LATER)
            await super().put_signed(*txs)

    world.store = store = Full()
    async with world.running():
        await world.plan(intent(1))
        assert not world.node.sends
        store.full = False
        await world.clock.advance(5)
        assert await world.state(intent(1)) is _S.SENT


async def test_a_response_has_no_nonce_before_its_attempt() -> None:
    """Signing the attempt fails for a moment; other tasks' transactions do not wait for it."""
    world = World()
    attempt, other = intent(1), intent(2)
    response = intent(1, Effect.SUBMIT_RESPONSE)

    def busy() -> None:
        raise StoreError("busy", code="store.busy", retry=Retry.LATER)

    async with world.running():
        arm("attempt.unsigned", busy)
        await world.plan(attempt, response, other)
        nonces = {tx.intent_key: tx.nonce for tx in world.node.pool.values()}
        assert nonces == {other.key: 0}
        await world.clock.advance(5)
        nonces = {tx.intent_key: tx.nonce for tx in world.node.pool.values()}
    assert nonces == {other.key: 0, attempt.key: 1, response.key: 2}


async def test_what_is_planned_together_is_stored_together() -> None:
    world = World()
    stored: list[int] = []

    class Watched(MemoryStore):
        async def put_signed(self, *txs: SignedTx) -> None:
            await super().put_signed(*txs)
            stored.append(len(txs))

    world.store = Watched()
    async with world.running():
        await world.plan(*(intent(n) for n in range(1, 21)))
        assert sorted(tx.nonce for tx in world.node.pool.values()) == list(range(20))
    assert stored == [16, 4]


async def test_a_response_has_no_nonce_before_its_attempt_where_a_commit_failed_between_them() -> None:
    class Busy(MemoryStore):
        busy = True

        async def put_signed(self, *txs: SignedTx) -> None:
            if self.busy:
                self.busy = False
                raise StoreError("busy", code="store.busy", retry=Retry.LATER)
            await super().put_signed(*txs)

    world = World(store=Busy())
    async with world.running():
        await world.plan(*(intent(n) for n in range(16)), intent(0, Effect.SUBMIT_RESPONSE))
        await world.clock.advance(5)
        nonces = {tx.intent_key: tx.nonce for tx in world.node.pool.values()}
    assert len(nonces) == 17
    assert nonces[intent(0).key] < nonces[intent(0, Effect.SUBMIT_RESPONSE).key]


async def test_several_fly_at_once_in_order_of_planning() -> None:
    world = World()
    async with world.running():
        await world.plan(*(intent(n) for n in range(5)))
        assert [(n, tx.intent_key) for n, tx in sorted(world.node.pool.items())] == [
            (n, intent(n).key) for n in range(5)
        ]


async def test_a_slow_answer_holds_nobody_up() -> None:
    world = World()
    gate = asyncio.Event()

    class Slow(FakeMempool):
        async def call(self, method: str, *params: object) -> object:
            if not self.sends:
                self.sends.update(["0x"])  # type: ignore[list-item]
                await gate.wait()
            return await super().call(method, *params)

    world.node = Slow()
    async with world.running():
        await world.plan(intent(1))
        await world.plan(intent(2))
        assert await world.state(intent(2)) is _S.SENT
        assert await world.state(intent(1)) is _S.SIGNED
        gate.set()
        await settle()
        assert await world.state(intent(1)) is _S.SENT


async def test_a_log_of_ours_is_enough_to_be_mined_and_one_receipt_to_be_confirmed() -> None:
    world = World()
    async with world.running():
        await world.plan(intent(1))
        await world.mine()
        row = await world.store.intent(intent(1).key)
        assert row is not None
        assert (row.state, row.block_number, row.block_hash) == (_S.MINED, 1, world.node.head.hash)
        assert world.node.asked["eth_getTransactionReceipt"] == 0
        await world.mine(2)
        assert await world.state(intent(1)) is _S.MINED
        await world.mine()
        (row,) = world.outcomes
        assert (row.state, row.gas_used, row.fee_paid) == (_S.CONFIRMED, 100_000, 100_000 * 2 * GWEI)
        assert world.node.asked["eth_getTransactionReceipt"] == 1
        await world.mine(5)
        assert world.node.asked["eth_getTransactionReceipt"] == 1
        assert await world.store.open_intents() == []


async def test_transactions_of_one_block_are_confirmed_with_one_call() -> None:
    world = World()
    async with world.running():
        await world.plan(intent(1), intent(2), intent(3))
        await world.mine(4)
        assert {row.state for row in world.outcomes} == {_S.CONFIRMED}
        assert len(world.outcomes) == 3
        assert (world.node.asked["eth_getBlockReceipts"], world.node.asked["eth_getTransactionReceipt"]) == (1, 0)


async def test_an_effect_without_a_log_is_found_by_its_receipt() -> None:
    world = World()
    silent = intent(1, Effect.SET_LIVE_DATA)
    async with world.running():
        await world.plan(silent)
        await world.mine(2)
        assert await world.state(silent) is _S.MINED
        await world.mine(3)
        assert await world.state(silent) is _S.CONFIRMED


async def test_a_transaction_that_failed_ends_its_intent() -> None:
    world = World()
    async with world.running():
        await world.plan(intent(1), intent(2))
        await world.mine(revert=[intent(1).key])
        await world.mine(3)
    assert {row.intent.key: row.state for row in world.outcomes} == {
        intent(1).key: _S.REVERTED,
        intent(2).key: _S.CONFIRMED,
    }


@pytest.mark.parametrize("fault", ["lost", "down"])
async def test_a_lost_reply_is_asked_about_not_sent_as_another(fault: str) -> None:
    world = World()
    async with world.running():
        world.node.fault = lambda method: fault if method == "eth_sendRawTransaction" else ""
        await world.plan(intent(1))
        assert await world.state(intent(1)) is _S.SIGNED
        world.node.fault = lambda method: ""
        await world.clock.advance(2)
        assert await world.state(intent(1)) is _S.SENT
        (tx,) = world.node.pool.values()
        assert world.node.sends == {tx.hash: 1}  # a call that never arrived is not counted
        assert len(await world.store.signed(intent(1).key)) == 1


async def test_already_known_is_sent() -> None:
    """One replica has not heard of the transaction, the next one has it in its pool."""

    class Replicas(FakeMempool):
        async def batch(self, calls: Sequence[Call]) -> list[Any]:
            answers = await super().batch(calls)
            first = calls[0][0] == "eth_getTransactionByHash" and self.asked["eth_getTransactionByHash"] == 1
            return [None] if first else answers

    world = World(node=Replicas())
    async with world.running():
        world.node.fault = lambda method: "lost" if method == "eth_sendRawTransaction" else ""
        await world.plan(intent(1))
        world.node.fault = lambda method: ""
        await world.clock.advance(2)
        assert list(world.node.sends.values()) == [2]
        assert await world.state(intent(1)) is _S.SENT
        assert world.node.asked["eth_getTransactionByHash"] == 2


async def test_a_refused_send_keeps_trying_with_growing_pauses() -> None:
    world = World()
    async with world.running():
        world.node.refuse_sends, world.node.balance = True, 0
        await world.plan(intent(1))
        for _ in range(120):
            await world.clock.advance(1)
        (sends,) = world.node.sends.values()
        assert 6 <= sends <= 12
        world.node.refuse_sends = False
        await world.clock.advance(40)
        assert await world.state(intent(1)) is _S.SENT
        await world.mine(5)
        assert await world.state(intent(1)) is _S.CONFIRMED


async def test_a_node_that_is_down_is_not_hammered() -> None:
    world = World()
    async with world.running():
        world.node.fault = lambda method: "down"
        await world.plan(intent(1))
        before = sum(world.node.asked.values())
        for _ in range(60):
            await world.clock.advance(1)
        assert sum(world.node.asked.values()) - before <= 70
        world.node.fault = lambda method: ""
        await world.clock.advance(31)
        assert await world.state(intent(1)) is _S.SENT


@pytest.mark.parametrize("sent", [True, False])
async def test_a_restart_sends_the_same_bytes(sent: bool) -> None:
    world = World()
    async with world.running():
        world.node.fault = lambda method: "" if sent or method != "eth_sendRawTransaction" else "down"
        await world.plan(intent(1))
    (tx,) = await world.store.signed(intent(1).key)
    world.node.pool.clear()  # and the nodes have forgotten it
    world.node.fault = lambda method: ""
    await world.clock.advance(60)
    async with world.running():
        assert [t.hash for t in world.node.pool.values()] == [tx.hash]
        assert await world.state(intent(1)) is _S.SENT
        assert await world.store.signed(intent(1).key) == [tx]


async def test_late_bytes_are_not_sent_again_their_nonce_is_used_up() -> None:
    world = World()
    late, next_one = intent(1, deadline=world.clock.now() + 1), intent(2)
    async with world.running():
        world.node.fault = lambda method: "down" if method == "eth_sendRawTransaction" else ""
        await world.plan(late, next_one)
    world.node.fault = lambda method: ""
    await world.clock.advance(60)
    async with world.running():
        assert [(tx.intent_key, tx.void) for _, tx in sorted(world.node.pool.items())] == [
            (late.key, True),
            (next_one.key, False),
        ]
        await world.mine(6)
        assert await world.state(late) is _S.ABANDONED
        assert await world.state(next_one) is _S.CONFIRMED
    assert {row.state for row in world.outcomes} == {_S.ABANDONED, _S.CONFIRMED}


async def test_late_bytes_that_were_mined_after_all_count() -> None:
    world = World()
    late = intent(1, deadline=world.clock.now() + 1)
    async with world.running():
        world.node.fault = lambda method: "lost" if method == "eth_sendRawTransaction" else ""
        await world.plan(late)
    world.node.fault = lambda method: ""
    world.node.mine()
    await world.clock.advance(60)
    async with world.running():
        await world.mine(5)
        assert await world.state(late) is _S.CONFIRMED
        assert len(await world.store.signed(late.key)) == 1


async def test_a_stuck_transaction_is_replaced_by_a_dearer_one() -> None:
    world = World()
    async with world.running():
        await world.plan(intent(1))
        world.node.base_fee = 20 * GWEI
        await world.mine(2)
        await world.clock.advance(11)
        assert len(await world.store.signed(intent(1).key)) == 1
        await world.mine(2)
        await world.clock.advance(2)
        await world.mine()
        first, second = await world.store.signed(intent(1).key)
        assert (first.nonce, second.nonce, second.void) == (0, 0, False)
        assert second.max_fee == 41 * GWEI
        await world.mine(5)
        row = await world.store.intent(intent(1).key)
        assert row is not None
        assert (row.state, row.tx_hash) == (_S.CONFIRMED, second.hash)


async def test_what_waits_behind_a_stuck_one_is_replaced_only_where_it_is_too_low_itself() -> None:
    world = World()
    async with world.running():
        await world.plan(intent(1))
        world.node.base_fee = 5 * GWEI
        await world.mine()
        await world.plan(intent(2))
        await world.mine(4)
        await world.clock.advance(13)
        await world.mine()
        assert len(await world.store.signed(intent(1).key)) == 2
        assert len(await world.store.signed(intent(2).key)) == 1
        await world.mine(6)
        assert await world.state(intent(2)) is _S.CONFIRMED


async def test_a_replacement_stops_at_the_cap_and_goes_on_under_it() -> None:
    world = World()
    async with world.running():
        await world.plan(intent(1))
        world.node.base_fee = 101 * GWEI
        for _ in range(10):
            await world.mine()
            await world.clock.advance(13)
        assert len(await world.store.signed(intent(1).key)) == 1
        world.node.base_fee = 10 * GWEI
        for _ in range(5):
            await world.mine()
            await world.clock.advance(13)
        assert await world.state(intent(1)) is _S.CONFIRMED
        assert all(tx.max_fee <= 100 * GWEI for tx in await world.store.signed(intent(1).key))


async def test_a_stuck_and_late_one_makes_room_for_those_behind_it() -> None:
    world = World()
    late = intent(1, deadline=world.clock.now() + 5)
    async with world.running():
        await world.plan(late)
        world.node.base_fee = 5 * GWEI
        await world.mine(4)
        await world.clock.advance(13)
        await world.mine(6)
        assert await world.state(late) is _S.ABANDONED
    mined = [tx for txs in world.node.mined for tx in txs]
    assert [(tx.intent_key, tx.void) for tx in mined] == [(late.key, True)]


async def test_a_node_that_keeps_refusing_a_price_is_offered_more() -> None:
    """No decision on the words: coin is there, the bytes are refused again and again."""
    world = World()
    async with world.running():
        world.node.refuse_sends = True
        await world.plan(intent(1))
        for _ in range(60):
            await world.clock.advance(1)
        prices = [tx.max_fee for tx in await world.store.signed(intent(1).key)]
        assert len(prices) >= 2
        assert prices == sorted(set(prices))
        world.node.refuse_sends = False
        await world.clock.advance(31)
        await world.mine(5)
        assert await world.state(intent(1)) is _S.CONFIRMED


async def test_a_days_budget_is_not_exceeded() -> None:
    world = World(budget=START_GAS[Effect.ATTEMPT] * 3 * GWEI * 2)
    async with world.running():
        await world.plan(*(intent(n) for n in range(4)))
        assert len(world.node.pool) == 2
        await world.mine(4)  # two that cost a ninth of what they might have
        await world.clock.advance(6)
        assert len(world.node.pool) == 1
        await world.mine(4)
        await world.clock.advance(6)
        await world.mine(4)
        assert len(world.outcomes) == 4
    async with world.running():
        await world.plan(*(intent(n) for n in range(10, 30)))
        assert len(world.node.pool) == 7, "what was spent before the restart still counts"
        await world.clock.leap(DAY + 60)
        assert len(world.node.pool) == 9


async def test_gas_limits_are_learnt_for_good() -> None:
    world = World()
    async with world.running():
        await world.plan(*(intent(n) for n in range(3)))
        await world.mine(4)
    async with world.running():
        await world.plan(intent(9))
        (tx,) = await world.store.signed(intent(9).key)
        assert tx.gas == 125_000


async def test_an_effect_that_came_about_otherwise_is_not_sent() -> None:
    world = World()
    async with world.running():
        world.node.base_fee = 101 * GWEI
        await world.mine()
        await world.plan(intent(1), intent(2))
        world.present.add(intent(1).key)
        origin = Origin(world.node.head.number, world.node.head.hash, Hash("0x" + "f" * 64), 0)
        block, _ = world.node.mine()
        await world.hear(block, [Attempted(origin, intent(1).subject, ME, 1)])
        assert await world.state(intent(1)) is _S.CONFIRMED
        world.node.base_fee = GWEI
        await world.mine()
        assert [tx.intent_key for tx in world.node.pool.values()] == [intent(2).key]
        assert world.asked == [intent(1).key]
    (row,) = world.outcomes
    assert (row.intent.key, row.tx_hash) == (intent(1).key, None)


async def test_what_was_planned_before_the_start_is_asked_about_and_what_is_signed_is_voided() -> None:
    world = World()
    async with world.running():
        world.node.fault = lambda method: "down" if method == "eth_sendRawTransaction" else ""
        await world.plan(intent(1), intent(2))
    await world.store.plan(intent(3), at=world.clock.now())
    world.present |= {intent(1).key, intent(3).key}
    world.node.fault = lambda method: ""
    async with world.running():
        await world.mine(6)
        states = [await world.state(intent(n)) for n in (1, 2, 3)]
        assert states == [_S.ABANDONED, _S.CONFIRMED, _S.CONFIRMED]
    assert sorted(tx.void for txs in world.node.mined for tx in txs) == [False, True]


async def test_a_block_undone_after_the_end_opens_the_intent_again() -> None:
    world = World()
    async with world.running():
        await world.plan(intent(1))
        await world.mine(4)
        assert await world.state(intent(1)) is _S.CONFIRMED
        world.node.undo(4)
        for _ in range(6):
            await world.mine()
            await world.clock.advance(61)
        await world.mine(5)
        assert await world.state(intent(1)) is _S.CONFIRMED
        assert len(await world.store.signed(intent(1).key)) == 1
    assert [tx.intent_key for txs in world.node.mined for tx in txs] == [intent(1).key]


async def test_a_gap_that_nothing_of_ours_can_fill_is_filled_with_nothing() -> None:
    """A transaction from before this journal was undone with its block and is nowhere any more."""
    world = World()
    foreign = await world.signer.sign(intent(90), nonce=0, gas=1, max_fee=3 * GWEI, tip_fee=1, at=0.0)
    await world.node.call("eth_sendRawTransaction", "0x" + foreign.raw.hex())
    world.node.mine()
    async with world.running():
        await world.plan(intent(1))
        assert list(world.node.pool) == [1]
        world.node.undo(1)
        for _ in range(12):
            await world.mine()
            await world.clock.advance(10)
        assert await world.state(intent(1)) is _S.CONFIRMED
        filler = await world.store.intent("1:fill:0")
        assert filler is not None
        assert filler.state is _S.CONFIRMED


async def test_a_restart_finds_what_was_mined_meanwhile() -> None:
    world = World()
    async with world.running():
        await world.plan(intent(1))
    for _ in range(6):
        world.node.mine()
    (tx,) = await world.store.signed(intent(1).key)
    async with world.running():
        assert await world.state(intent(1)) is _S.MINED
        await world.hear(world.node.head, [])
        assert await world.state(intent(1)) is _S.CONFIRMED
    assert world.node.sends == {tx.hash: 1}


async def test_nothing_is_sent_for_the_first_time_after_its_deadline() -> None:
    world = World()
    world.make()
    late, timely = intent(1, deadline=world.clock.now() - 1), intent(2, deadline=world.clock.now() + 100)
    await world.plan(late, timely)
    async with world.running():
        assert await world.state(late) is _S.ABANDONED
        assert await world.state(timely) is _S.SENT
        assert [row.intent.key for row in world.outcomes] == [late.key]
        assert [tx.nonce for tx in world.node.pool.values()] == [0]


async def test_chain_time_counts_for_a_deadline_too() -> None:
    world = World()
    async with world.running():
        ahead = world.node.head.timestamp + 500
        world.head.block = Block(1, world.node.head.hash, world.node.head.hash, ahead, GWEI)
        await world.plan(intent(1, deadline=ahead - 1.0))
        assert await world.state(intent(1)) is _S.ABANDONED


async def test_too_dear_waits_until_it_is_not() -> None:
    world = World()
    async with world.running():
        world.node.base_fee = 101 * GWEI
        await world.mine()
        await world.plan(intent(1), intent(2, deadline=world.clock.now() + 10))
        assert not world.node.sends
        await world.clock.advance(20)
        assert await world.state(intent(2)) is _S.ABANDONED
        world.node.base_fee = GWEI
        await world.mine()
        assert await world.state(intent(1)) is _S.SENT


async def test_without_base_fee_and_tip_method_the_gas_price_is_paid() -> None:
    world = World(node=FakeMempool(base_fee=None))
    world.node.no_tip = True
    async with world.running():
        await world.plan(intent(1))
        (tx,) = await world.store.signed(intent(1).key)
        assert (tx.max_fee, tx.tip_fee) == (2 * GWEI, None)


async def test_what_the_signer_refuses_is_abandoned_and_takes_no_nonce() -> None:
    world = World()
    world.signer.refused.add(intent(1).key)
    async with world.running():
        await world.plan(intent(1), intent(2))
        assert await world.state(intent(1)) is _S.ABANDONED
        (tx,) = world.node.pool.values()
        assert (tx.intent_key, tx.nonce) == (intent(2).key, 0)


async def test_an_undone_block_sends_the_same_bytes_again() -> None:
    world = World()
    async with world.running():
        await world.plan(intent(1))
        await world.mine(2)
        assert await world.state(intent(1)) is _S.MINED
        world.node.undo(2)
        await world.hear(*world.node.mine())
        row = await world.store.intent(intent(1).key)
        assert row is not None
        assert (row.state, row.block_number) == (_S.SENT, None)
        await world.mine()
        assert await world.state(intent(1)) is _S.MINED
        await world.mine(3)
        assert await world.state(intent(1)) is _S.CONFIRMED
        assert len(await world.store.signed(intent(1).key)) == 1


async def test_an_undone_block_that_nobody_told_of_is_found_at_depth() -> None:
    world = World()
    async with world.running():
        await world.plan(intent(1))
        await world.mine()
        world.node.undo()
        world.node.mine()
        for _ in range(3):
            await world.hear(*world.node.mine())
        await world.mine(6)
        assert await world.state(intent(1)) is _S.CONFIRMED
        assert len(await world.store.signed(intent(1).key)) == 1


async def test_an_idle_key_is_asked_about_four_times_an_hour() -> None:
    world = World()
    async with world.running():
        for _ in range(360):
            await world.clock.advance(10)
        assert 4 <= world.node.asked["eth_maxPriorityFeePerGas"] <= 5


async def test_it_waits_for_a_node_at_the_start() -> None:
    world = World()
    world.node.fault = lambda method: "down"
    async with world.running():
        await world.plan(intent(1))
        assert not world.node.sends
        world.node.fault = lambda method: ""
        await world.clock.advance(5)
        assert await world.state(intent(1)) is _S.SENT


async def test_a_used_key_continues_behind_the_chains_nonce() -> None:
    world = World()
    for n in range(3):
        signed = await world.signer.sign(intent(90 + n), nonce=n, gas=1, max_fee=3 * GWEI, tip_fee=1, at=0.0)
        await world.node.call("eth_sendRawTransaction", "0x" + signed.raw.hex())
    world.node.mine()
    async with world.running():
        await world.plan(intent(1))
        assert [tx.nonce for tx in world.node.pool.values()] == [3]


async def foreign_sends(world: World, nonces: int) -> None:
    for n in range(nonces):
        foreign = await world.signer.sign(intent(90 + n), nonce=n, gas=1, max_fee=3 * GWEI, tip_fee=1, at=0.0)
        await world.node.call("eth_sendRawTransaction", "0x" + foreign.raw.hex())
    world.node.mine()


@pytest.mark.parametrize("nonces", [1, 3])
async def test_a_second_host_with_the_key_stops_the_service(nonces: int) -> None:
    """With one foreign transaction our nonce is taken; with three the chain is ahead of everything we signed."""
    world = World()
    world.head.block = world.node.head
    run = asyncio.create_task(world.make().run())
    await settle()
    await foreign_sends(world, nonces)
    await world.plan(intent(1))
    for _ in range(8):
        if not run.done():
            await world.mine()
            await world.clock.advance(4)
    with pytest.raises(ExceptionGroup) as caught:
        await asyncio.wait_for(run, 60)
    error: BaseException = caught.value
    while isinstance(error, BaseExceptionGroup):
        (error,) = error.exceptions
    assert isinstance(error, ForeignNonce)
    assert (error.code, error.retry) == ("chain.foreign_nonce", Retry.NEVER)
    assert f"nonce {nonces - 1} of {ME}" in str(error)
    assert "key of its own" in error.remedy
    assert await world.state(intent(1)) is _S.SIGNED


async def test_a_node_that_is_ahead_of_the_one_with_the_receipts_is_no_second_host() -> None:
    """The chain's nonce is past ours, the receipt comes a few blocks later."""

    class Behind(FakeMempool):
        blind = True

        async def batch(self, calls: Sequence[Call]) -> list[Any]:
            answers = await super().batch(calls)
            hidden = self.blind and "eth_getTransaction" in calls[0][0] and calls[0][0] != "eth_getTransactionCount"
            return [None] * len(answers) if hidden else answers

    world = World(node=Behind())
    async with world.running():
        await world.plan(intent(1))
        await world.hear(world.node.mine()[0], [])
        for _ in range(3):
            await world.hear(world.node.mine()[0], [])
            await world.clock.advance(5)
        assert isinstance(world.node, Behind)
        world.node.blind = False
        for _ in range(5):
            await world.hear(world.node.mine()[0], [])
            await world.clock.advance(5)
        assert await world.state(intent(1)) is _S.CONFIRMED


async def test_an_outcome_that_was_not_taken_is_told_again() -> None:
    world = World()
    tries = []

    async def taken(row: IntentRow) -> None:
        tries.append(row.state)
        if len(tries) < 3:
            raise RpcUnavailable("not now")

    world.taken = taken  # type: ignore[method-assign]
    async with world.running():
        await world.plan(intent(1, deadline=0.0))
        await world.clock.advance(10)
        assert tries == [_S.ABANDONED] * 3


async def test_the_wrong_network_stops_the_service() -> None:
    world = World()

    class Wrong(FakeMempool):
        async def call(self, method: str, *params: object) -> object:
            raise WrongNetwork("another chain")

    world.node = Wrong()
    world.head.block = world.node.head
    run = asyncio.create_task(world.make().run())
    await settle()
    await world.plan(intent(1))
    with pytest.raises(ExceptionGroup) as caught:
        await run
    assert caught.group_contains(WrongNetwork)


FAULTS = st.sampled_from(["", "", "", "lost", "down"])
STEPS = st.lists(
    st.sampled_from(["plan", "plan", "mine", "mine", "tick", "restart", "undo", "forget"]), min_size=5, max_size=40
)


@settings(max_examples=size("transaction histories"), deadline=None)
@given(steps=STEPS, faults=st.lists(FAULTS, max_size=60), reverts=st.sets(st.integers(0, 20), max_size=5))
async def test_each_nonce_carries_one_intent_and_each_intent_is_mined_once(
    steps: list[str], faults: list[str], reverts: set[int]
) -> None:
    world = World(confirmations=2)
    pending = iter(faults)
    world.node.fault = lambda method: next(pending, "")
    refused = {intent(n).key for n in reverts}
    planned = 0

    async def check() -> None:
        carried: dict[int, str] = {}
        for tx in [tx for txs in world.node.mined for tx in txs] + list(world.node.pool.values()):
            assert carried.setdefault(tx.nonce, tx.intent_key) == tx.intent_key
        mined = [tx.intent_key for txs in world.node.mined for tx in txs]
        assert len(mined) == len(set(mined))
        assert not any(tx.void for txs in world.node.mined for tx in txs)
        for row in [r for n in range(planned) if (r := await world.store.intent(intent(n).key))]:
            assert len({tx.nonce for tx in await world.store.signed(row.intent.key)}) <= 1

    async def act(step: str) -> None:
        nonlocal planned
        if step == "plan":
            await world.plan(intent(planned))
            planned += 1
        elif step == "mine":
            await world.mine(revert=refused)
        elif step == "tick":
            await world.clock.advance(3)
        elif step == "undo" and len(world.node.blocks) > 1:
            world.node.undo(1)
            await world.mine(revert=refused)
        elif step == "forget" and world.node.pool:
            del world.node.pool[max(world.node.pool)]

    while steps:
        async with world.running():
            while steps and (step := steps.pop(0)) != "restart":
                await act(step)
                await check()
    world.node.fault = lambda method: ""
    async with world.running():
        for _ in range(60):
            await world.clock.advance(2)
            await world.mine(revert=refused)
        await check()
    states = [row.state for n in range(planned) if (row := await world.store.intent(intent(n).key))]
    assert len(states) == planned
    assert set(states) <= {_S.CONFIRMED, _S.REVERTED}
    mined = {tx.intent_key for txs in world.node.mined for tx in txs}
    assert mined == {intent(n).key for n in range(planned)}


async def test_what_pools_drop_because_no_block_takes_it_is_offered_dearer_at_once() -> None:
    world = World()
    async with world.running():
        await world.plan(intent(1))
        world.node.pool.clear()
        world.node.base_fee = 20 * GWEI
        await world.mine(2)
        await world.clock.advance(2)
        await world.mine(1)
        first, second = await world.store.signed(intent(1).key)
        assert (first.max_fee, second.max_fee) == (3 * GWEI, 41 * GWEI)
        await world.mine(4)
        assert await world.state(intent(1)) is _S.CONFIRMED
