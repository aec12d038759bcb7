"""The parts of the sender one by one: what each promises beyond what whole histories show."""

import asyncio
import inspect
from typing import Any

import pytest
from structlog.testing import capture_logs

from ogpu_provider.chain.account import Account
from ogpu_provider.chain.fees import Suggestion
from ogpu_provider.chain.flights import Flight, Flights, price
from ogpu_provider.chain.receipts import Receipt
from ogpu_provider.chain.sender import Sender
from ogpu_provider.chain.wire import JsonRpcError
from ogpu_provider.domain.errors import KeyRefused, RpcUnavailable
from ogpu_provider.domain.intent import IntentRow, IntentState, SignedTx
from ogpu_provider.domain.units import Hash
from ogpu_provider.store.memory import MemoryStore
from tests.fakes.clock import FakeClock, settle
from tests.fakes.mempool import GWEI
from tests.unit.chain.sending import World, intent

_S = IntentState
SUGGESTION = Suggestion(GWEI, 2 * GWEI)


def signed(n: int, *, nonce: int = 0, max_fee: int = 3, tip_fee: int | None = 1, at: float = 0.0) -> SignedTx:
    return SignedTx(Hash(f"0x{n:064x}"), intent(n).key, nonce, b"raw", 21_000, max_fee, tip_fee, at)


async def sent(world: World, n: int = 1) -> Flight:
    """One that a node has."""
    await world.plan(intent(n))
    assert await world.state(intent(n)) is _S.SENT
    return next(flight for flight in world.sender._flights if flight.key == intent(n).key)


# Flights.


def test_an_intent_that_was_not_signed_here_counts_as_new() -> None:
    flight = Flight(IntentRow(intent(1), _S.PLANNED))
    assert (flight.sent_block, flight.tries, flight.refusals) == (0, 0, 0)
    assert (flight.suspect, flight.old, flight.inherited, flight.voided) == (False, False, False, False)


@pytest.mark.parametrize(
    ("tip_fee", "base_fee", "costs"), [(1, 1, 2), (1, 9, 3), (None, 1, 3), (1, None, 3), (None, None, 3)]
)
def test_a_gas_costs_base_fee_and_tip_and_no_more_than_was_offered(
    tip_fee: int | None, base_fee: int | None, costs: int
) -> None:
    assert price(signed(1, max_fee=3, tip_fee=tip_fee), base_fee) == costs


async def flights_of(store: MemoryStore, *states: IntentState) -> Flights:
    for n, state in enumerate(states, 1):
        await store.plan(intent(n), at=0.0)
        if state is not _S.PLANNED:
            await store.put_signed(signed(n, nonce=n))
            await store.set_state(intent(n).key, state, at=0.0)
    flights = Flights(store, FakeClock())
    await flights.load()
    return flights


async def test_what_was_committed_and_not_heard_of_is_suspect_and_the_rest_is_left_alone() -> None:
    store = MemoryStore()
    flights = await flights_of(store, _S.SENT, _S.PLANNED)
    known = {flight.key: flight for flight in flights}
    await store.plan(intent(3), at=0.0)
    await store.put_signed(signed(3, nonce=7))
    await flights.reread()
    by_key = {flight.key: flight for flight in flights}
    assert all(by_key[key] is flight for key, flight in known.items())
    assert by_key[intent(3).key].suspect
    assert flights.next_nonce == 8
    await store.plan(intent(4), at=0.0)
    await flights.reread()
    assert intent(4).key not in {flight.key for flight in flights}, "it has no bytes to ask about"


async def test_a_transaction_that_moves_to_another_block_is_noted_there() -> None:
    store = MemoryStore()
    flights = await flights_of(store, _S.SENT)
    name = signed(1).hash
    await flights.mined(name, 5, Hash("0xa"))
    await flights.mined(name, 6, Hash("0xb"))
    row = await store.intent(intent(1).key)
    assert row is not None
    assert (row.state, row.block_number, row.block_hash) == (_S.MINED, 6, "0xb")
    [flight] = flights
    flight.tries = 4
    await flights.undone(flight, head=9)
    assert (flight.tries, flight.retry_at, flight.sent_block) == (0, None, 9)
    await flights.mined(name, 6, Hash("0xb"))
    row = await store.intent(intent(1).key)
    assert row is not None
    assert row.state is _S.MINED, "it is back in the block that it was in"


# The desk.


async def test_the_height_is_that_of_the_newest_block_heard_of_by_whichever_part() -> None:
    world = World()
    sender = world.make()
    assert sender._desk.height == 0
    world.head.block = world.node.mine()[0]
    assert sender._desk.height == 1
    sender._flights.observed = 7
    assert sender._desk.height == 7


async def test_a_start_learns_gas_from_ten_thousand_receipts() -> None:
    class Store(MemoryStore):
        async def gas_used(self, limit: int) -> Any:
            assert limit == 10_000
            return await super().gas_used(limit)

    world = World(store=Store())
    async with world.running():
        pass


async def test_gas_is_known_without_a_receipt_for_an_hour() -> None:
    world = World()
    async with world.running() as sender:
        flight = await sent(world)
        desk, [tx] = sender._desk, flight.txs
        assert desk.known_cost(flight) is None
        for _ in range(3):
            desk.account_for(flight, Receipt(tx.hash, True, 1, Hash("0xb"), 90_000, 5))
        flight.told = flight.row.block_hash or Hash(""), 2
        assert desk.known_cost(flight) is None, "of another block"
        assert await world.store.intent(flight.key) is not None
        await sender._flights.mined(tx.hash, 1, Hash("0xb"))
        flight.told = Hash("0xb"), 2
        assert desk.known_cost(flight) == (90_000, 180_000)
        world.clock._now += 3599.5
        assert desk.known_cost(flight) is not None
        world.clock._now += 0.5
        assert desk.known_cost(flight) is None


async def test_a_void_carries_no_coin_and_is_offered_above_the_caps_only_for_what_no_node_has() -> None:
    class Seen:
        address = World().signer.address

        def __init__(self) -> None:
            self.values: list[int] = []

        async def sign(self, one: Any, **terms: Any) -> SignedTx:
            self.values.append(one.value)
            return await World().signer.sign(one, **terms)

    world, signer = World(), Seen()
    world.signer = signer  # type: ignore[assignment]
    async with world.running() as sender:
        flight = await sent(world)
        assert await sender._desk.void(flight) is not None
        assert signer.values == [0, 0]
        flight.txs[-1] = signed(1, max_fee=100 * GWEI, tip_fee=100 * GWEI)  # at the cap
        assert await sender._desk.void(flight) is None, "a pool would not take less"
        assert await sender._desk.void(flight, unknown=True) is not None


# Upkeep.


async def test_what_could_be_in_a_block_by_now_was_sent_two_blocks_or_twelve_seconds_ago() -> None:
    world = World()
    async with world.running() as sender:
        flight, upkeep = await sent(world), sender._upkeep
        assert not upkeep.waits(flight)
        sender._flights.observed = flight.sent_block + 1
        assert not upkeep.waits(flight)
        sender._flights.observed = flight.sent_block + 2
        assert upkeep.waits(flight)
        sender._flights.observed = flight.sent_block
        world.clock._now += 11.5
        assert not upkeep.waits(flight)
        world.clock._now += 0.5
        assert upkeep.waits(flight)


async def test_a_nonce_in_flight_is_no_gap_and_one_in_a_block_is_nobody_elses() -> None:
    world = World()
    async with world.running() as sender:
        flight = await sent(world)
        await sender._nonces.compare(Account(0, SUGGESTION))
        assert not sender._nonces.gaps
        await sender._flights.mined(flight.txs[-1].hash, 1, Hash("0xb"))
        await sender._nonces.compare(Account(1, SUGGESTION))
        assert not flight.suspect, "the chain has used its nonce, for itself"


async def test_a_nonce_that_the_chain_has_used_is_ours_where_a_receipt_says_so() -> None:
    world = World()
    async with world.running() as sender:
        flight = await sent(world)
        world.node.mine()  # and nobody tells
        for observed in (0, 10):
            sender._flights.observed = observed
            await sender._nonces.compare(Account(1, SUGGESTION))
        assert flight.passed == 0
        assert flight.row.state.open


async def test_a_gap_is_filled_at_once() -> None:
    world = World()
    async with world.running() as sender:
        await sent(world)
        sender._flights.next_nonce = 3
        await sent(world, 2)
        sender._courier.woken.clear()
        for observed in (0, 3):
            sender._flights.observed = observed
            await sender._nonces.compare(Account(1, SUGGESTION))
        assert sender._courier.woken.is_set()


async def test_what_was_closed_and_is_still_in_its_block_stays_closed() -> None:
    world = World(confirmations=1)
    async with world.running() as sender:
        await world.plan(intent(1))
        await world.mine(3)
        assert await world.state(intent(1)) is _S.CONFIRMED
        await sent(world, 2)
        for observed in (3, 9):  # a node behind says that nonce 0 is free
            sender._flights.observed = observed
            await sender._nonces.compare(Account(0, SUGGESTION))
        assert await world.state(intent(1)) is _S.CONFIRMED


async def test_what_cannot_be_replaced_is_tried_again_after_twelve_seconds() -> None:
    world = World()
    async with world.running() as sender:
        flight, upkeep = await sent(world), sender._upkeep
        await upkeep._again(flight, None)
        world.clock._now += 11.5
        assert not upkeep.may_retry(flight)
        world.clock._now += 0.5
        assert upkeep.may_retry(flight)


# The sender and its courier.


async def test_another_block_of_the_same_height_makes_it_ask_for_its_account() -> None:
    world = World()
    async with world.running():
        await world.mine(2)
        await world.clock.advance(100)
        before = world.node.asked["eth_getTransactionCount"]
        world.node.undo()
        await world.mine()
        await world.clock.advance(61)
        assert world.node.asked["eth_getTransactionCount"] > before


async def test_a_refused_transaction_is_not_known_where_the_node_does_not_say() -> None:
    class Node(type(World().node)):  # type: ignore[misc]
        def _answer(self, method: str, params: tuple[Any, ...]) -> Any:
            if method == "eth_getTransactionByHash":
                return JsonRpcError(method, -32000, "not today")
            return super()._answer(method, params)

    world = World(node=Node())
    world.node.refuse_sends = True
    async with world.running() as sender:
        await world.plan(intent(1))
        [flight] = sender._flights
        assert (flight.row.state, flight.refusals) == (_S.SIGNED, 1)


async def test_work_that_comes_when_the_sender_has_ended_is_closed() -> None:
    world = World()
    async with world.running() as sender:
        pass

    async def work() -> None: ...

    left = work()
    with pytest.raises(asyncio.CancelledError):
        sender._courier._spawn(left, "late")
    assert inspect.getcoroutinestate(left) == inspect.CORO_CLOSED


async def test_without_another_word_a_transaction_is_done_three_blocks_deep() -> None:
    class Plain(World):
        def make(self) -> Sender:
            self.sender = Sender(self.node, self.store, self.signer, self.clock, self.head, self.taken)
            return self.sender

    world = Plain()
    async with world.running():
        await world.plan(intent(1))
        await world.mine(3)
        assert await world.state(intent(1)) is _S.MINED
        await world.mine()
        assert await world.state(intent(1)) is _S.CONFIRMED


async def test_a_key_that_was_used_elsewhere_before_this_start_is_said() -> None:
    world = World()
    await world.store.plan(intent(1), at=0.0)
    await world.store.put_signed(signed(1, nonce=0))
    async with world.running() as sender:
        sender._flights.next_nonce = 1
        with capture_logs() as logs:
            world.node.mined.append([None] * 5)  # type: ignore[list-item]
            await sender._first_account()
        assert [line["ours"] for line in logs if line["event"] == "tx.key_used_elsewhere"] == [1]
        assert sender._flights.next_nonce == 5
        sender._flights.next_nonce = 0
        with capture_logs() as logs:
            await sender._first_account()
        assert not [line for line in logs if line["event"] == "tx.key_used_elsewhere"], "this journal is new"


# The short way.


class Counted(Flights):
    rereads = 0

    async def reread(self) -> None:
        self.rereads += 1
        await super().reread()


async def test_the_short_way_is_closed_before_the_first_turn_and_after_a_turn_that_failed() -> None:
    world = World()
    async with world.running() as sender:
        express, counted = sender._express, Counted(world.store, world.clock)
        fresh = type(express)(counted, sender._desk, sender._courier, world.clock)
        async with fresh.signing([intent(1)]) as nothing:
            assert not nothing
        async with fresh.turn():
            pass
        assert counted.rereads == 0, "nothing is in doubt"
        with pytest.raises(RpcUnavailable):
            async with fresh.turn():
                raise RpcUnavailable("down")
        async with fresh.signing([intent(1)]) as nothing:
            assert not nothing
        async with fresh.turn():
            pass
        with pytest.raises(KeyRefused):
            async with fresh.signing([intent(1)]):
                raise KeyRefused("the commit failed", code="key.policy")
        for _ in range(2):
            async with fresh.turn():
                pass
        assert counted.rereads == 1, "what was in doubt is read once"


async def test_the_short_way_is_closed_from_the_moment_at_which_something_is_planned() -> None:
    world = World()
    async with world.running() as sender:
        await world.mine()
        await world.store.plan(intent(1), at=world.clock.now())
        sender.wake()
        async with sender.signing([intent(2)]) as signed:
            assert signed == ()
        await settle()
        async with sender.signing([intent(3)]) as signed:
            [tx] = signed
            assert tx.nonce == 1, "behind what was planned first"
            await world.store.plan(intent(3), at=world.clock.now())
            await world.store.put_signed(tx)


async def test_its_bytes_are_with_the_node_when_the_caller_goes_on() -> None:
    world = World()
    async with world.running() as sender:
        async with sender.signing([intent(1)]) as ours:
            await world.store.plan(intent(1), at=world.clock.now())
            await world.store.put_signed(*ours)
        assert list(world.node.sends) == [ours[0].hash]
