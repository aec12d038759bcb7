"""The rules of sending, each by itself: when, how often, at which nonce, for how much, and when not at all."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest
from structlog.testing import capture_logs

from ogpu_provider.chain.contracts import Malformed
from ogpu_provider.chain.fees import START_GAS
from ogpu_provider.chain.sender import Sender
from ogpu_provider.chain.wire import Call, JsonRpcError
from ogpu_provider.domain.errors import (
    ForeignNonce,
    KeyRefused,
    ProviderError,
    Retry,
    RpcRejected,
    RpcUnavailable,
    StoreError,
)
from ogpu_provider.domain.facts import Attempted, Block, Origin, Registered, ResponseSubmitted
from ogpu_provider.domain.intent import Effect, Intent, IntentRow, IntentState, SignedTx
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.units import Address, Hash
from ogpu_provider.store.memory import MemoryStore
from tests.fakes.clock import settle
from tests.fakes.mempool import GWEI, ME, FakeMempool
from tests.unit.chain.sending import HeadStub, World, intent

SEND = "eth_sendRawTransaction"
COUNT = "eth_getTransactionCount"
KNOWN = "eth_getTransactionByHash"
RECEIPT = "eth_getTransactionReceipt"
_S = IntentState


def times(world: World, method: str, fault: Callable[[str], str] = lambda method: "") -> list[float]:
    """Seconds from now at which `method` will be called; `fault` as the node has it."""
    began, found = world.clock.now(), list[float]()

    def note(called: str) -> str:
        if called == method:
            found.append(world.clock.now() - began)
        return fault(called)

    world.node.fault = note
    return found


async def empty(world: World, blocks: int = 1) -> None:
    """Blocks that take nothing from the pool."""
    for _ in range(blocks):
        await world.hear(*world.node.mine(limit=0))


async def prices(world: World, one: Intent) -> list[int]:
    return [tx.max_fee for tx in await world.store.signed(one.key)]


async def ended(run: "asyncio.Task[None]") -> BaseException:
    """What a sender's run raised, out of its groups."""
    with pytest.raises(BaseException) as caught:
        await asyncio.wait_for(run, 60)
    error = caught.value
    while isinstance(error, BaseExceptionGroup):
        (error,) = error.exceptions
    return error


# A send whose outcome is not known.


class Answering(FakeMempool):
    """Answers every send with `error`, having taken the transaction or not."""

    def __init__(self) -> None:
        super().__init__()
        self.error: ProviderError | None = None
        self.takes = True

    async def call(self, method: str, *params: Any) -> Any:
        if method == SEND and self.error:
            if self.takes:
                await super().call(method, *params)
            else:
                self.asked[method] += 1
            raise self.error
        return await super().call(method, *params)


ERRORS = [
    JsonRpcError(SEND, -32000, "nonce too low"),
    JsonRpcError(SEND, -32000, "nonce too high"),
    JsonRpcError(SEND, -32000, "already known"),
    JsonRpcError(SEND, -32000, "transaction underpriced"),
    JsonRpcError(SEND, -32000, "replacement transaction underpriced"),
    JsonRpcError(SEND, -32000, "insufficient funds for gas * price + value"),
    JsonRpcError(SEND, -32000, "intrinsic gas too low"),
    JsonRpcError(SEND, -32003, "transaction rejected"),
    RpcUnavailable("timed out"),
    RpcUnavailable("connection reset by peer"),
]


@pytest.mark.parametrize("error", ERRORS, ids=str)
async def test_a_send_that_was_answered_with_an_error_and_worked_is_not_repeated(error: ProviderError) -> None:
    world = World(node=Answering())
    assert isinstance(world.node, Answering)
    world.node.error = error
    async with world.running():
        await world.plan(intent(1))
        await world.clock.advance(1)
        assert await world.state(intent(1)) is _S.SENT
        await world.clock.advance(60)
        (tx,) = await world.store.signed(intent(1).key)
        assert world.node.sends == {tx.hash: 1}
        await world.mine(4)
        assert await world.state(intent(1)) is _S.CONFIRMED


@pytest.mark.parametrize("error", ERRORS, ids=str)
async def test_a_send_that_was_answered_with_an_error_and_did_nothing_is_repeated_as_it_was(
    error: ProviderError,
) -> None:
    world = World(node=Answering())
    assert isinstance(world.node, Answering)
    world.node.error, world.node.takes = error, False
    async with world.running():
        await world.plan(intent(1))
        assert await world.state(intent(1)) is _S.SIGNED
        world.node.error = None
        await world.clock.advance(1)
        assert await world.state(intent(1)) is _S.SENT
        (tx,) = await world.store.signed(intent(1).key)
        assert world.node.sends == {tx.hash: 1}
        await world.mine(4)
        assert await world.state(intent(1)) is _S.CONFIRMED


async def test_refused_and_nobody_can_say_whether_it_is_known_is_not_sent() -> None:
    world = World()
    world.node.refuse_sends = True
    async with world.running():
        world.node.fault = lambda method: "down" if method == KNOWN else ""
        await world.plan(intent(1))
        assert await world.state(intent(1)) is _S.SIGNED


async def test_tries_pause_twice_as_long_each_up_to_half_a_minute() -> None:
    world = World()
    async with world.running():
        sends = times(world, SEND, lambda method: "down" if method == SEND else "")
        await world.plan(intent(1))
        await world.clock.advance(125)
        assert sends == [0, 1, 3, 7, 15, 31, 61, 91, 121]


async def test_refused_tries_pause_as_long() -> None:
    world = World()
    world.node.refuse_sends, world.node.balance = True, 0
    async with world.running():
        sends = times(world, SEND)
        await world.plan(intent(1))
        await world.clock.advance(65)
        assert sends == [0, 1, 3, 7, 15, 31, 61]


async def test_after_an_undone_block_the_pauses_begin_anew() -> None:
    world = World()
    async with world.running():
        down = times(world, SEND, lambda method: "down" if method == SEND else "")
        await world.plan(intent(1))
        await world.clock.advance(16)
        assert len(down) == 5
        world.node.fault = lambda method: ""
        await world.clock.advance(15)
        await world.mine(2)
        assert await world.state(intent(1)) is _S.MINED
        world.node.undo(2)
        again = times(world, SEND)
        await empty(world, 2)
        assert again == [0]


async def test_the_start_asks_for_the_account_with_the_same_pauses() -> None:
    world = World()
    asked = times(world, COUNT, lambda method: "down")
    async with world.running():
        await world.clock.advance(100)
        assert asked == [0, 1, 3, 7, 15, 31, 61, 91]


async def test_an_outcome_is_told_again_with_the_same_pauses() -> None:
    world = World()
    began, tries = world.clock.now(), list[float]()

    async def taken(row: IntentRow) -> None:
        tries.append(world.clock.now() - began)
        raise RpcUnavailable("not now")

    world.taken = taken  # type: ignore[method-assign]
    async with world.running():
        await world.plan(intent(1, deadline=0.0))
        await world.clock.advance(70)
    assert tries == [0, 1, 3, 7, 15, 31, 61]


async def test_an_outcome_that_is_refused_for_good_ends_nothing() -> None:
    world = World()
    tries = []

    async def taken(row: IntentRow) -> None:
        tries.append(row)
        raise StoreError("no such task", code="store.no_task")

    world.taken = taken  # type: ignore[method-assign]
    async with world.running():
        await world.plan(intent(1, deadline=0.0), intent(2))
        await world.clock.advance(10)
        assert await world.state(intent(2)) is _S.SENT
    assert len(tries) == 1


# What a replacement costs, and when there is one.


async def test_a_replacement_pays_an_eighth_more_where_the_chain_asks_for_less() -> None:
    world = World()
    async with world.running():
        await world.plan(intent(1))
        await empty(world, 3)
        await world.clock.advance(13)
        await empty(world)
        first, second = await world.store.signed(intent(1).key)
        assert (first.max_fee, first.tip_fee) == (3 * GWEI, GWEI)
        assert (second.max_fee, second.tip_fee, second.nonce) == (3_375_000_000, 1_125_000_000, first.nonce)
        assert [tx.hash for tx in world.node.pool.values()] == [second.hash]


async def test_a_replacement_pays_what_the_chain_asks_for_where_that_is_more() -> None:
    world = World()
    async with world.running():
        await world.plan(intent(1))
        world.node.base_fee = 7 * GWEI
        await empty(world, 3)
        await world.clock.advance(13)
        await empty(world)
        assert await prices(world, intent(1)) == [3 * GWEI, 15 * GWEI]


async def test_replacements_end_at_five_times_what_is_suggested_and_say_so() -> None:
    world = World()
    async with world.running():
        await world.plan(intent(1))
        with capture_logs() as logs:
            for _ in range(25):
                await empty(world, 3)
                await world.clock.advance(20)
        paid = await prices(world, intent(1))
        assert all(9 * one <= 8 * two for one, two in pairwise(paid))
        assert 15 * GWEI * 8 // 9 < paid[-1] <= 15 * GWEI
        told = [line for line in logs if line["event"] == "tx.at_the_cap"]
        assert told
        assert {line["fee"] for line in told} == {paid[-1]}, "and not before"
        await world.mine(4)
        assert await world.state(intent(1)) is _S.CONFIRMED


@pytest.mark.parametrize(("blocks", "seconds", "replaced"), [(3, 11.9, False), (2, 60.0, False), (3, 12.0, True)])
async def test_stuck_is_three_blocks_and_twelve_seconds(blocks: int, seconds: float, replaced: bool) -> None:
    world = World()
    async with world.running():
        await world.plan(intent(1))
        await empty(world, blocks - 1)
        await world.clock.advance(seconds)
        await empty(world)
        assert len(await world.store.signed(intent(1).key)) == 1 + replaced


async def test_a_replacement_has_its_own_three_blocks_and_twelve_seconds() -> None:
    world = World()
    async with world.running():
        await world.plan(intent(1))
        await empty(world, 3)
        await world.clock.advance(13)
        await empty(world)
        assert len(await prices(world, intent(1))) == 2
        await empty(world, 3)
        await world.clock.advance(11)
        assert len(await prices(world, intent(1))) == 2
        await world.clock.advance(6)
        assert len(await prices(world, intent(1))) == 3


async def test_of_several_that_are_stuck_only_the_first_in_line_is_replaced() -> None:
    world = World()
    async with world.running():
        await world.plan(*(intent(n) for n in range(3)))
        await empty(world, 3)
        await world.clock.advance(13)
        await empty(world)
        assert [len(await prices(world, intent(n))) for n in range(3)] == [2, 1, 1]


async def test_one_in_a_block_is_not_the_first_in_line() -> None:
    world = World(confirmations=10)
    async with world.running():
        await world.plan(intent(1), intent(2))
        await world.hear(*world.node.mine(limit=1))
        await empty(world, 2)
        assert await world.state(intent(1)) is _S.MINED
        await world.clock.advance(13)
        await empty(world)
        assert await world.state(intent(1)) is _S.MINED
        assert [len(await prices(world, intent(n))) for n in (1, 2)] == [1, 2]


async def test_a_price_that_is_just_enough_is_not_too_low() -> None:
    """The base fee has risen to what the second one offers at most."""
    world = World()
    async with world.running():
        await world.plan(intent(1), intent(2))
        world.node.base_fee = 3 * GWEI
        await empty(world, 3)
        await world.clock.advance(13)
        await empty(world)
        assert [len(await prices(world, intent(n))) for n in (1, 2)] == [2, 1]


async def test_refused_four_times_is_offered_dearer_and_each_offer_has_as_many_tries() -> None:
    world = World()
    world.node.refuse_sends = True
    async with world.running():
        await world.plan(intent(1))
        await world.clock.advance(400)
        tries = [world.node.sends[tx.hash] for tx in await world.store.signed(intent(1).key)]
        assert len(tries) >= 3
        assert set(tries[:-1]) == {4}


@pytest.mark.parametrize(("short", "dearer"), [(1, False), (0, True)])
async def test_refused_for_want_of_coin_is_not_offered_dearer(short: int, dearer: bool) -> None:
    world = World()
    world.node.refuse_sends, world.node.balance = True, START_GAS[Effect.ATTEMPT] * 3 * GWEI - short
    async with world.running():
        await world.plan(intent(1))
        with capture_logs() as logs:
            await world.clock.advance(60)
        assert (len(await world.store.signed(intent(1).key)) > 1) == dearer
        assert ("tx.no_coin" in {line["event"] for line in logs}) == (not dearer)


async def test_a_replacement_that_the_signer_refuses_leaves_the_service_running() -> None:
    world = World()
    async with world.running():
        await world.plan(intent(1))
        world.signer.refused.add(intent(1).key)
        await empty(world, 3)
        await world.clock.advance(13)
        with capture_logs() as logs:
            await empty(world)
        assert "tx.not_replaced" in {line["event"] for line in logs}
        assert len(await prices(world, intent(1))) == 1
        await world.plan(intent(2))
        assert await world.state(intent(2)) is _S.SENT
        await world.mine(4)
        assert await world.state(intent(1)) is _S.CONFIRMED


# Caps and budgets.


async def test_a_budget_that_fits_to_the_wei_is_spent() -> None:
    most = START_GAS[Effect.ATTEMPT] * 3 * GWEI
    world = World(budget=2 * most)
    async with world.running():
        await world.plan(intent(1), intent(2))
        assert len(world.node.pool) == 2
    world = World(budget=2 * most - 1)
    async with world.running():
        await world.plan(intent(1), intent(2))
        assert len(world.node.pool) == 1


async def test_a_spent_budget_is_told_once_until_there_is_room() -> None:
    world = World(budget=START_GAS[Effect.ATTEMPT] * 3 * GWEI)
    async with world.running():
        with capture_logs() as logs:
            await world.plan(intent(1))
            assert [line for line in logs if line["event"] == "tx.budget_spent"] == []
            await world.plan(intent(2))
            await world.clock.advance(30)
            assert len([line for line in logs if line["event"] == "tx.budget_spent"]) == 1
            assert len(world.node.pool) == 1


async def test_what_replaces_counts_only_with_what_it_costs_more() -> None:
    """The budget has room for the first offer and the eighth more of its replacement."""
    gas = START_GAS[Effect.ATTEMPT]
    world = World(budget=gas * 3_375_000_000)
    async with world.running():
        await world.plan(intent(1))
        await empty(world, 3)
        await world.clock.advance(13)
        await empty(world)
        assert await prices(world, intent(1)) == [3 * GWEI, 3_375_000_000]
        await empty(world, 3)
        await world.clock.advance(33)
        assert len(await prices(world, intent(1))) == 2


async def test_a_spent_budget_does_not_hold_up_a_void() -> None:
    """It costs less than what it replaces."""
    world = World(budget=START_GAS[Effect.ATTEMPT] * 3 * GWEI)
    late = intent(1, deadline=world.clock.now() + 5)
    async with world.running():
        world.node.fault = lambda method: "down" if method == SEND else ""
        await world.plan(late)
        await world.clock.advance(6)
        world.node.fault = lambda method: ""
        await world.clock.advance(12)
        (tx,) = world.node.pool.values()
        assert (tx.nonce, tx.void) == (0, True)


async def test_what_a_closed_one_may_have_cost_is_free_again() -> None:
    """Two at once fit, and after them two more: what is done counts with what it cost, a ninth of the most."""
    most = START_GAS[Effect.ATTEMPT] * 3 * GWEI
    world = World(budget=2 * most + 2 * 100_000 * 2 * GWEI)
    async with world.running():
        await world.plan(intent(1), intent(2))
        await world.mine(4)
        await world.plan(intent(3), intent(4))
        assert len(world.node.pool) == 2


class Silent(FakeMempool):
    """Receipts without a price."""

    def mine(self, **how: Any) -> Any:
        made = super().mine(**how)
        for receipt in self.receipts.values():
            receipt.pop("effectiveGasPrice", None)
        return made


async def test_a_receipt_without_a_price_counts_with_the_most() -> None:
    most = START_GAS[Effect.ATTEMPT] * 3 * GWEI
    for spare, room in ((0, True), (1, False)):
        world = World(node=Silent(), budget=100_000 * 3 * GWEI + most - spare)
        async with world.running():
            await world.plan(intent(1))
            await world.mine(4)
            await world.plan(intent(2))
            assert (len(world.node.pool) == 1) == room


async def test_over_the_cap_it_says_that_it_waits() -> None:
    world = World()
    async with world.running():
        with capture_logs() as logs:
            await world.plan(intent(1))
            assert "tx.too_dear" not in {line["event"] for line in logs}
            world.node.base_fee = 101 * GWEI
            await empty(world)
            await world.plan(intent(2))
            assert "tx.too_dear" in {line["event"] for line in logs}


# Gas limits.


async def test_gas_is_learnt_while_it_runs_and_never_estimated() -> None:
    world = World()
    async with world.running():
        for n in range(4):
            await world.plan(intent(n))
            (tx,) = await world.store.signed(intent(n).key)
            assert tx.gas == (START_GAS[Effect.ATTEMPT] if n < 3 else 125_000)
            await world.mine(4)
    assert "eth_estimateGas" not in world.node.asked


async def test_failures_and_voids_teach_no_limit() -> None:
    world = World()
    async with world.running():
        failing = [intent(n) for n in range(4)]
        await world.plan(*failing)
        await world.mine(4, revert=[one.key for one in failing])
        assert {row.state for row in world.outcomes} == {_S.REVERTED}
        late = [intent(10 + n, deadline=world.clock.now() + 5) for n in range(4)]
        world.node.fault = lambda method: "down" if method == SEND else ""
        await world.plan(*late)
        await world.clock.advance(6)
        world.node.fault = lambda method: ""
        await world.clock.advance(40)
        await world.mine(5)
        assert [await world.state(one) for one in late] == [_S.ABANDONED] * 4
        await world.plan(intent(99))
        (tx,) = await world.store.signed(intent(99).key)
        assert tx.gas == START_GAS[Effect.ATTEMPT]


async def test_what_ran_out_of_gas_is_allowed_twice_as_much_over_a_restart() -> None:
    class Short(FakeMempool):
        def mine(self, **how: Any) -> Any:
            made = super().mine(**how)
            for receipt in self.receipts.values():
                receipt["gasUsed"] = hex(START_GAS[Effect.ATTEMPT])
            return made

    world = World(node=Short())
    async with world.running():
        await world.plan(intent(1))
        await world.mine(4, revert=[intent(1).key])
    async with world.running():
        await world.plan(intent(2))
        (tx,) = await world.store.signed(intent(2).key)
        assert tx.gas == 2 * START_GAS[Effect.ATTEMPT]


# Deadlines.


async def test_at_its_deadline_it_is_sent_and_after_it_is_not() -> None:
    world = World()
    async with world.running():
        on_time, late = intent(1, deadline=world.clock.now()), intent(2, deadline=world.clock.now() - 0.001)
        await world.plan(on_time, late)
        assert (await world.state(on_time), await world.state(late)) == (_S.SENT, _S.ABANDONED)


async def test_at_its_deadline_by_chain_time_it_is_sent() -> None:
    world = World()
    async with world.running():
        ahead = world.node.head.timestamp + 500
        world.head.block = Block(1, world.node.head.hash, world.node.head.hash, ahead, GWEI)
        await world.plan(intent(1, deadline=float(ahead)))
        assert await world.state(intent(1)) is _S.SENT


async def test_a_deadline_that_passes_while_it_waits_is_found_within_a_tick() -> None:
    world = World()
    async with world.running():
        world.node.base_fee = 101 * GWEI
        await empty(world)
        await world.plan(intent(1, deadline=world.clock.now() + 4.5))
        await world.clock.advance(4.9)
        assert await world.state(intent(1)) is _S.PLANNED
        await world.clock.advance(0.2)
        assert await world.state(intent(1)) is _S.ABANDONED


# An effect that is there by another path.


async def test_what_waits_is_asked_about_every_ten_seconds_and_only_when_it_has_waited() -> None:
    world = World()
    began, asked = world.clock.now(), list[float]()

    async def is_present(one: Intent) -> bool:
        asked.append(world.clock.now() - began)
        return False

    world.is_present = is_present  # type: ignore[method-assign]
    async with world.running():
        world.node.base_fee = 101 * GWEI
        await empty(world)
        await world.plan(intent(1))
        await world.clock.advance(42)
        assert asked == [20, 30, 40]


async def test_registered_by_the_master_is_not_sent_again() -> None:
    world = World()
    mine, other = intent(1, Effect.REGISTER), intent(2, Effect.REGISTER)
    async with world.running():
        world.node.base_fee = 101 * GWEI
        await empty(world)
        await world.plan(mine, other)
        world.present |= {mine.key, other.key}
        origin = Origin(world.node.head.number, world.node.head.hash, Hash("0x" + "f" * 64), 0)
        somebody = Address("0x" + "b2" * 20)
        facts = [
            Registered(origin, provider, one.subject, Environment.CPU)
            for provider, one in ((ME, mine), (somebody, other))
        ]
        await world.hear(world.node.mine(limit=0)[0], facts)
        assert (await world.state(mine), await world.state(other)) == (_S.CONFIRMED, _S.PLANNED)
        assert world.asked == [mine.key]


async def test_an_attempt_on_behalf_of_somebody_else_says_nothing_of_ours() -> None:
    world = World()
    async with world.running():
        world.node.base_fee = 101 * GWEI
        await empty(world)
        await world.plan(intent(1), intent(1, Effect.SUBMIT_RESPONSE))
        origin = Origin(world.node.head.number, world.node.head.hash, Hash("0x" + "f" * 64), 0)
        await world.hear(
            world.node.mine(limit=0)[0], [Attempted(origin, intent(1).subject, Address("0x" + "b2" * 20), 1)]
        )
        assert world.asked == []
        await world.hear(world.node.mine(limit=0)[0], [Attempted(origin, intent(1).subject, ME, 1)])
        assert world.asked == [intent(1).key], "and of our attempt nothing about our response"


@pytest.mark.parametrize("error", [RpcRejected("execution reverted"), Malformed("", code="chain.empty_answer")])
async def test_a_contract_that_does_not_say_or_is_gone_is_no_effect(error: Exception) -> None:
    world = World()
    await world.store.plan(intent(1), at=world.clock.now())

    async def refuse(one: Intent) -> bool:
        raise error

    world.is_present = refuse  # type: ignore[method-assign]
    async with world.running():
        assert await world.state(intent(1)) is _S.SENT
        await world.mine()
        world.node.undo()
        await world.mine(8)
        assert await world.state(intent(1)) is _S.CONFIRMED, "what others' contracts say holds nothing up"


async def test_a_sender_that_can_ask_nobody_about_effects_sends() -> None:
    world = World()
    await world.store.plan(intent(1), at=world.clock.now())
    world.head.block = world.node.head
    sender = Sender(world.node, world.store, world.signer, world.clock, world.head, world.taken)
    run = asyncio.create_task(sender.run())
    await settle()
    assert await world.state(intent(1)) is _S.SENT
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)


# Blocks that hold a transaction, and blocks that are undone.


async def test_depth_is_counted_from_the_block_of_the_transaction() -> None:
    for confirmations in (0, 1, 2):
        world = World(confirmations=confirmations)
        async with world.running():
            await world.plan(intent(1))
            await world.mine(1)
            for _ in range(confirmations):
                assert await world.state(intent(1)) is _S.MINED
                await world.mine()
            assert await world.state(intent(1)) is _S.CONFIRMED


async def test_the_same_block_again_asks_for_nothing() -> None:
    world = World()
    async with world.running():
        await world.plan(intent(1))
        block, facts = world.node.mine()
        await world.hear(block, facts)
        before = world.node.asked.copy()
        await world.hear(block, facts)
        await world.hear(*world.node.mine())
        assert world.node.asked == before
        assert await world.state(intent(1)) is _S.MINED


async def test_another_block_at_its_height_is_asked_about_at_once() -> None:
    world = World()
    async with world.running():
        await world.plan(intent(1), intent(2))
        await world.hear(*world.node.mine(limit=1))
        first, _ = world.node.mine()
        world.head.block = first
        await world.sender.observe(first, [Attempted(_in(world, first, 2), intent(2).subject, ME, 1)])
        await settle()
        assert [await world.state(intent(n)) for n in (1, 2)] == [_S.MINED, _S.MINED]
        world.node.undo(1)
        await empty(world)
        states = [await world.state(intent(n)) for n in (1, 2)]
        assert states == [_S.MINED, _S.SENT], "the one below stays where it is"


def _in(world: World, block: Block, n: int) -> Origin:
    (tx_hash,) = [tx.hash for txs in world.node.mined for tx in txs if tx.intent_key == intent(n).key]
    return Origin(block.number, block.hash, tx_hash, 0)


async def test_an_undone_failure_is_no_end() -> None:
    world = World()
    async with world.running():
        await world.plan(intent(1))
        await world.mine(2, revert=[intent(1).key])
        world.node.undo(2)
        await empty(world)
        await world.mine(5)
        assert await world.state(intent(1)) is _S.CONFIRMED


async def test_a_transaction_in_two_offers_ends_with_the_one_that_is_in_the_block() -> None:
    world = World()
    async with world.running():
        await world.plan(intent(1))
        first = dict(world.node.pool)
        await empty(world, 3)
        await world.clock.advance(13)
        await empty(world)
        assert len(await prices(world, intent(1))) == 2
        world.node.pool = dict(first)
        await world.mine(5)
        row = await world.store.intent(intent(1).key)
        assert row is not None
        assert (row.state, row.tx_hash) == (_S.CONFIRMED, first[0].hash)


# Nonces.


async def start(world: World) -> "asyncio.Task[None]":
    world.head.block = world.node.head
    run = asyncio.create_task(world.make().run())
    await settle()
    return run


async def foreign(world: World, nonces: Sequence[int]) -> None:
    """Another host's transactions, in a block."""
    for n in nonces:
        tx = await world.signer.sign(intent(90 + n), nonce=n, gas=1, max_fee=3 * GWEI, tip_fee=1, at=0.0)
        await world.node.call(SEND, "0x" + tx.raw.hex())
    world.node.mine()


@pytest.mark.parametrize(("confirmations", "blocks"), [(3, 4), (0, 2)])
async def test_a_used_nonce_is_believed_to_be_foreign_once_ours_cannot_be_in_a_block_any_more(
    confirmations: int, blocks: int
) -> None:
    world = World(confirmations=confirmations)
    run = await start(world)
    await foreign(world, [0])
    await world.hear(world.node.head, [])
    await world.plan(intent(1))
    await world.clock.advance(31)
    for _ in range(blocks - 1):
        await empty(world)
        await world.clock.advance(31)
        assert not run.done()
    await empty(world)
    await world.clock.advance(31)
    error = await ended(run)
    assert isinstance(error, ForeignNonce)
    assert f"nonce 0 of {ME}" in str(error)


async def test_after_a_restart_what_lost_its_nonce_to_another_host_is_given_up_and_the_next_is_sent() -> None:
    """Else a journal could never be started again."""
    world = World(confirmations=1)
    run = await start(world)
    await foreign(world, [0])
    await world.hear(world.node.head, [])
    await world.plan(intent(1))
    while not run.done():
        await empty(world)
        await world.clock.advance(31)
    assert isinstance(await ended(run), ForeignNonce)
    async with world.running():
        for _ in range(6):
            await world.mine()
            await world.clock.advance(31)
        assert await world.state(intent(1)) is _S.ABANDONED
        assert [row.intent.key for row in world.outcomes] == [intent(1).key]
        await world.plan(intent(2))
        await world.mine(3)
        assert await world.state(intent(2)) is _S.CONFIRMED
    run = await start(world)  # and the other one is still there
    await foreign(world, [2])
    await world.hear(world.node.head, [])
    await world.plan(intent(3))
    for _ in range(6):
        if not run.done():
            await empty(world)
            await world.clock.advance(31)
    assert isinstance(await ended(run), ForeignNonce)


async def test_the_chains_nonce_right_after_ours_is_ours() -> None:
    world = World()
    async with world.running():
        await world.plan(intent(1))
        world.node.mine()  # and no log of it was heard
        await world.clock.advance(61)
        await world.hear(world.node.head, [])
        assert await world.state(intent(1)) is _S.MINED


async def test_a_nonce_beyond_ours_ends_the_service_at_the_next_look() -> None:
    world = World()
    run = await start(world)
    await foreign(world, [0, 1])
    await world.clock.advance(901)
    error = await ended(run)
    assert isinstance(error, ForeignNonce)
    assert f"nonce 1 of {ME}" in str(error)


async def test_a_filler_whose_nonce_was_used_after_all_is_no_second_host() -> None:
    """What had the nonce before this journal was undone, a filler takes its place, then it is in a block again."""
    world = World()
    older = await world.signer.sign(intent(90), nonce=0, gas=1, max_fee=3 * GWEI, tip_fee=1, at=0.0)
    await world.node.call(SEND, "0x" + older.raw.hex())
    world.node.mine()
    async with world.running():
        await world.plan(intent(1))
        world.node.undo(1)
        for _ in range(8):
            await empty(world)
            await world.clock.advance(10)
        filler = await world.store.intent("1:fill:0")
        assert filler is not None
        assert (filler.state.open, filler.nonce, filler.intent.to) == (True, 0, ME)
        waiting = world.node.pool.pop(1)
        world.node.pool.clear()
        await world.node.call(SEND, "0x" + older.raw.hex())
        world.node.pool[1] = waiting
        for _ in range(12):
            await world.mine()
            await world.clock.advance(61)
        assert await world.state(intent(1)) is _S.CONFIRMED
        filler = await world.store.intent("1:fill:0")
        assert filler is not None
        assert (filler.state, filler.gas_used) == (_S.ABANDONED, None)


async def test_a_gap_is_filled_only_after_three_blocks_and_only_below_what_is_in_flight() -> None:
    world = World()
    await foreign(world, [0, 1])
    async with world.running():
        await world.plan(intent(1))
        assert list(world.node.pool) == [2]
        world.node.undo(1)
        await empty(world)
        await world.clock.advance(61)  # the gap is seen
        await empty(world, 2)
        await world.clock.advance(61)
        assert await world.store.intent("1:fill:0") is None
        await empty(world)
        await world.clock.advance(61)
        fillers = [await world.store.intent(f"1:fill:{n}") for n in (0, 1, 2)]
        assert [row is not None for row in fillers] == [True, True, False]
        await world.mine(6)
        assert await world.state(intent(1)) is _S.CONFIRMED


async def test_a_gap_that_closes_by_itself_is_not_filled() -> None:
    world = World()
    await foreign(world, [0])
    async with world.running():
        await world.plan(intent(1))
        behind, world.node.mined = world.node.mined, [[], []]  # a node that is behind says an older number
        await empty(world)
        await world.clock.advance(61)
        world.node.mined = [*behind, []]
        await world.clock.advance(61)
        await world.mine(4)
        await world.clock.advance(61)
        assert await world.store.intent("1:fill:0") is None
        assert await world.state(intent(1)) is _S.CONFIRMED


async def test_a_gap_above_everything_in_flight_is_nobodys() -> None:
    """A journal that was closed long ago, on a node that says a lower number: nothing waits, nothing is sent."""
    world = World()
    await foreign(world, [0, 1, 2])
    async with world.running() as sender:
        await empty(world, 5)
        world.node.undo(6)
        asked = times(world, COUNT)
        for _ in range(6):
            await empty(world)
            await world.clock.advance(5)
        assert len(asked) > 3
        assert sender._nonces.gaps
        assert await world.store.open_intents() == []


async def test_a_gap_that_undone_blocks_have_left_is_filled_after_three_blocks_too() -> None:
    """At once is only looked for what we have signed ourselves."""
    world = World()
    await foreign(world, [0])
    async with world.running():
        await empty(world, 5)
        await world.plan(intent(1))
        assert list(world.node.pool) == [1]
        world.node.undo(6)
        await empty(world, 3)
        await world.clock.advance(5)
        assert await world.store.intent("1:fill:0") is None
        await empty(world)
        await world.clock.advance(5)
        assert await world.store.intent("1:fill:0") is not None


# The account, beside the way.


async def test_the_account_is_read_once_a_minute_while_something_waits_for_a_block_and_seldom_when_idle() -> None:
    world = World()
    asked = times(world, COUNT)
    async with world.running():
        await world.clock.advance(185)
        assert asked == [0]
        await world.plan(intent(1))
        await world.clock.advance(115)
        assert asked == [0, 200, 260]
    asked.clear()
    idle = World()
    asked = times(idle, COUNT)
    async with idle.running():
        await idle.clock.advance(2000)
        assert asked == [0, 900, 1800]


@pytest.mark.parametrize(("base_fee", "reads"), [(GWEI, [0]), (None, [0, 60, 120, 180, 240, 300])])
async def test_transactions_that_get_into_blocks_say_nonce_and_price_by_themselves(
    base_fee: int | None, reads: list[float]
) -> None:
    """Where blocks have no base fee, prices are asked for."""
    world = World(node=FakeMempool(base_fee=base_fee))
    asked = times(world, COUNT)
    async with world.running():
        for n in range(60):
            await world.plan(intent(n))
            await world.mine()
            await world.clock.advance(5)
        assert await world.state(intent(50)) is _S.CONFIRMED
    assert asked == reads


async def in_blocks(world: World, *groups: list[Intent]) -> int:
    """Each group in a block of its own, and deep enough in the end; how many receipts were asked for."""
    before = world.node.asked.copy()
    for group in groups:
        await world.plan(*group)
        block, facts = world.node.mine()
        submitted = [tx for tx in world.node.mined[-1] if Effect.SUBMIT_RESPONSE in tx.intent_key]
        facts += [ResponseSubmitted(Origin(block.number, block.hash, tx.hash, 99), tx.subject, ME) for tx in submitted]
        await world.hear(block, facts)
        await world.clock.advance(1)
    await world.mine(world.confirmations)
    assert {await world.state(one) for group in groups for one in group} == {_S.CONFIRMED}
    asked = world.node.asked - before
    return asked["eth_getTransactionReceipt"] + asked["eth_getBlockReceipts"]


async def test_an_attempt_alone_in_its_block_is_closed_by_its_log_once_its_cost_is_known() -> None:
    world = World()
    response = [intent(n, Effect.SUBMIT_RESPONSE) for n in range(20)]
    async with world.running():
        assert await in_blocks(world, *([intent(n)] for n in range(3))) == 3  # so many receipts are trusted
        assert await in_blocks(world, [intent(3)], [intent(4), intent(5)]) == 0
        assert await in_blocks(world, [response[3]]) == 1
        assert await in_blocks(world, [intent(6), response[4]]) == 1  # asked for the response, for both
        await world.clock.advance(3600)
        assert await in_blocks(world, [intent(7)]) == 1  # what it costs is looked at again
        assert await in_blocks(world, [intent(8)]) == 0
    asked, told = [await world.store.intent(intent(n).key) for n in (7, 8)]
    assert asked is not None
    assert told is not None
    assert (told.gas_used, told.fee_paid) == (asked.gas_used, asked.fee_paid)
    assert told.fee_paid
    assert [row.state for row in world.outcomes].count(_S.CONFIRMED) == 11


async def test_a_reverted_attempt_leaves_no_log_and_its_receipt_is_asked_for() -> None:
    world = World()
    async with world.running():
        await in_blocks(world, *([intent(n)] for n in range(3)))
        await world.plan(intent(3))
        await world.mine(revert={intent(3).key})
        await world.mine(5)
        assert await world.state(intent(3)) is _S.REVERTED


async def test_an_attempt_whose_block_was_undone_is_not_closed_by_its_log() -> None:
    world = World()
    async with world.running():
        await in_blocks(world, *([intent(n)] for n in range(3)))
        await world.plan(intent(3))
        await world.mine(2)
        assert await world.state(intent(3)) is _S.MINED
        world.node.undo(2)
        world.node.base_fee = 1000 * GWEI  # no block takes it now
        await world.mine(6)
        assert await world.state(intent(3)) in (_S.SENT, _S.SIGNED)
        world.node.base_fee = GWEI
        for _ in range(6):
            await world.mine()
            await world.clock.advance(30)
        assert await world.state(intent(3)) is _S.CONFIRMED


async def test_what_attempts_cost_that_no_receipt_was_asked_for_counts_for_the_day() -> None:
    world = World()
    async with world.running():
        await in_blocks(world, *([intent(n)] for n in range(3)))
        row = await world.store.intent(intent(2).key)
        assert row is not None
        assert row.fee_paid is not None
    most = START_GAS[Effect.ATTEMPT] * 3 * GWEI
    world.budget = 20 * row.fee_paid + most
    async with world.running():
        signed = 0
        for n in range(3, 60):
            await world.plan(intent(n))
            signed += await world.state(intent(n)) is not _S.PLANNED
            await world.mine(world.confirmations + 1)
    paid = sum(int(one["gasUsed"], 16) * int(one["effectiveGasPrice"], 16) for one in world.node.receipts.values())
    assert 10 < signed < 57
    assert paid <= world.budget


async def test_the_account_is_read_more_often_while_something_is_stuck() -> None:
    world = World()
    async with world.running():
        await world.plan(intent(1))
        await empty(world, 3)
        await world.clock.advance(12)
        asked = times(world, COUNT)
        world.signer.refused.add(intent(1).key)  # it stays stuck
        for _ in range(12):
            await empty(world)
            await world.clock.advance(1)
        assert asked == [0, 4, 8]


async def test_an_upkeep_that_found_no_node_rests_a_second() -> None:
    world = World()
    async with world.running():
        await world.plan(intent(1))
        asked = times(world, RECEIPT, lambda method: "down" if method == RECEIPT else "")
        for _ in range(12):
            await empty(world)
            await world.clock.advance(0.25)
        assert asked == [0.25, 1.25, 2.25]


async def test_a_journal_that_is_busy_in_the_upkeep_is_asked_again() -> None:
    class Busy(MemoryStore):
        busy = 0

        async def set_state(self, key: str, state: IntentState, **more: Any) -> IntentRow:
            if state is _S.CONFIRMED and self.busy < 2:
                self.busy += 1
                raise StoreError("busy", code="store.busy", retry=Retry.LATER)
            return await super().set_state(key, state, **more)

    world = World(store=Busy())
    async with world.running():
        await world.plan(intent(1))
        await world.mine(4)
        assert await world.state(intent(1)) is _S.MINED
        await empty(world, 5)
        assert await world.state(intent(1)) is _S.MINED, "it rests a second"
        for _ in range(2):
            await world.clock.advance(1)
            await empty(world)
        assert await world.state(intent(1)) is _S.CONFIRMED


@pytest.mark.parametrize("method", ["put_signed", "set_state"])
async def test_a_journal_that_is_broken_ends_the_service(method: str) -> None:
    class Broken(MemoryStore):
        async def put_signed(self, *txs: SignedTx) -> None:
            if method == "put_signed":
                raise StoreError("damaged", code="store.corrupt")
            await super().put_signed(*txs)

        async def set_state(self, key: str, state: IntentState, **more: Any) -> IntentRow:
            if method == "set_state" and state is _S.CONFIRMED:
                raise StoreError("damaged", code="store.corrupt")
            return await super().set_state(key, state, **more)

    world = World(store=Broken())
    run = await start(world)
    await world.plan(intent(1))
    if method == "put_signed":
        assert not world.node.sends
    else:
        await world.mine(4)
    error = await ended(run)
    assert isinstance(error, StoreError)
    assert error.code == "store.corrupt"


# The head, and what was heard before the start.


async def test_nothing_is_signed_before_a_block_was_heard_of() -> None:
    world = World(head=HeadStub())
    sender = world.make()
    run = asyncio.create_task(sender.run())
    await settle()
    await world.plan(intent(1))
    assert not world.node.sends
    await world.hear(world.node.head, [])
    assert await world.state(intent(1)) is _S.SENT
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)


async def test_what_was_observed_before_the_start_counts() -> None:
    world = World()
    async with world.running():
        await world.plan(intent(1))
    block, facts = world.node.mine()
    world.head.block = block
    sender = world.make()
    await sender.observe(block, facts)
    assert await world.state(intent(1)) is _S.MINED


async def test_the_signer_that_refuses_is_told_of_and_takes_no_nonce() -> None:
    world = World()
    world.signer.refused.add(intent(1).key)
    async with world.running():
        with capture_logs() as logs:
            await world.plan(intent(1))
        (line,) = [line for line in logs if line["event"] == "tx.abandoned"]
        assert line["why"] == str(KeyRefused("no"))
        assert world.outcomes[0].nonce is None


class Counting(FakeMempool):
    """How many calls were in each request."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    async def batch(self, calls: Sequence[Call]) -> list[Any]:
        self.sizes.append(len(calls))
        return await super().batch(calls)


async def test_twenty_in_flight_are_looked_after_in_one_request() -> None:
    world = World(node=Counting())
    assert isinstance(world.node, Counting)
    async with world.running():
        await world.plan(*(intent(n) for n in range(20)))
        world.node.sizes.clear()
        await empty(world, 2)
        assert world.node.sizes == [20, 20], "receipts, then whether a node has them"


# What else is promised to others.


async def test_it_says_what_it_carries_from_the_first_byte_to_the_end() -> None:
    world = World()
    nothing = Hash("0x" + "f" * 64)
    assert world.make().carries(nothing), "before the journal was read, any may be"
    async with world.running() as sender:
        await world.plan(intent(1))
        (tx,) = await world.store.signed(intent(1).key)
        assert sender.carries(tx.hash)
        assert not sender.carries(nothing)
        await world.mine(4)
        assert not sender.carries(tx.hash)


async def test_a_new_one_is_asked_about_neither_before_nor_after_it_is_sent() -> None:
    world = World()
    async with world.running() as sender:
        await world.plan(intent(1))
        sender.wake()
        await settle()
        assert world.asked == []
        assert world.node.asked[RECEIPT] == 0


async def test_a_restart_goes_on_at_the_next_nonce() -> None:
    world = World()
    for n in range(3):
        async with world.running():
            await world.plan(intent(n))
    assert sorted(world.node.pool) == [0, 1, 2]


async def test_what_waits_to_be_signed_is_in_nobodys_way() -> None:
    world = World()
    async with world.running():
        await world.plan(intent(1))
        world.node.base_fee = 101 * GWEI
        await empty(world)
        await world.plan(intent(2))
        world.node.base_fee = GWEI
        world.head.block = None  # so that it waits on
        for _ in range(3):
            await world.sender.observe(world.node.mine(limit=0)[0], [])
        await world.clock.advance(61)
        assert [await world.state(intent(n)) for n in (1, 2)] == [_S.SENT, _S.PLANNED]
        await empty(world)
        await world.mine(5)
        assert [await world.state(intent(n)) for n in (1, 2)] == [_S.CONFIRMED] * 2


async def test_one_in_a_block_is_asked_about_at_its_depth_only() -> None:
    world = World(confirmations=10)
    async with world.running():
        await world.plan(intent(1))
        await world.mine()
        before = world.node.asked[RECEIPT]
        for _ in range(5):
            await empty(world)
            await world.clock.advance(61)
        assert world.node.asked[RECEIPT] == before
        await empty(world, 5)
        assert world.node.asked[RECEIPT] == before + 1


async def test_the_same_log_again_is_not_written_again() -> None:
    class Counted(MemoryStore):
        writes = 0

        async def set_state(self, key: str, state: IntentState, **more: Any) -> IntentRow:
            self.writes += 1
            return await super().set_state(key, state, **more)

    store = Counted()
    world = World(store=store)
    async with world.running():
        await world.plan(intent(1))
        block, facts = world.node.mine()
        await world.hear(block, facts)
        before = store.writes
        await world.hear(block, facts)
        assert store.writes == before


async def test_at_most_a_hundred_gaps_are_filled_at_a_time() -> None:
    world = World()
    await foreign(world, range(150))
    async with world.running():
        await world.plan(intent(1))
        world.node.undo(1)
        await empty(world)
        await world.clock.advance(61)
        await empty(world, 3)
        await world.clock.advance(61)
        filled = [n for n in range(150) if await world.store.intent(f"1:fill:{n}")]
        assert filled == list(range(100))


async def test_a_budget_that_is_spent_from_the_start_is_told_of() -> None:
    world = World(budget=1)
    async with world.running():
        with capture_logs() as logs:
            await world.plan(intent(1))
            await world.clock.advance(20)
        assert [line["intent"] for line in logs if line["event"] == "tx.budget_spent"] == [intent(1).key]


async def test_blocks_before_it_was_signed_do_not_make_it_stuck() -> None:
    world = World()
    async with world.running():
        await empty(world, 7)
        await world.plan(intent(1))
        await empty(world)
        await world.clock.advance(30)
        await empty(world)
        assert len(await prices(world, intent(1))) == 1
        await empty(world)
        assert len(await prices(world, intent(1))) == 2


async def test_a_key_that_was_used_elsewhere_is_told_of_where_the_journal_had_another_nonce() -> None:
    async def told(world: World) -> bool:
        with capture_logs() as logs:
            async with world.running():
                pass
        return "tx.key_used_elsewhere" in {line["event"] for line in logs}

    world = World()
    await foreign(world, [0, 1])
    assert not await told(world), "a new journal for a used key is nothing to tell of"
    async with world.running():
        await world.plan(intent(1))
        await world.mine(4)
    assert not await told(world)
    await foreign(world, [3])
    assert await told(world)


class Behind(FakeMempool):
    """Says an older number of our transactions, where there is one."""

    older: int | None = None

    @property
    def nonce(self) -> int:
        return super().nonce if self.older is None else self.older


async def test_a_closed_one_is_sent_again_at_the_first_block_after_more_were_undone_than_confirm_it() -> None:
    world = World()
    async with world.running():
        await world.plan(intent(1))
        await world.mine(4)
        assert await world.state(intent(1)) is _S.CONFIRMED
        world.node.undo(4)
        again = times(world, SEND)
        await empty(world)
        assert again == [0.0]
        assert await world.state(intent(1)) is _S.SENT
        await world.mine(4)
        assert await world.state(intent(1)) is _S.CONFIRMED
    assert len(world.node.sends) == 1, "the same bytes"


async def test_what_was_undone_is_looked_for_until_the_chain_is_longer_than_it_was() -> None:
    """The first node that is asked has not heard of it; the block may also bring nobody's transaction back."""
    node = Behind()
    world = World(node=node)
    async with world.running():
        await world.plan(intent(1))
        await world.mine(4)
        world.node.undo(4)
        node.older = 1
        asked = times(world, COUNT)
        await empty(world)
        assert asked == [0.0]
        await world.clock.advance(3)
        assert asked == [0.0]
        await world.clock.advance(2)
        await empty(world, 3)
        assert asked == [0.0, 5.0], "as long as it was"
        again = times(world, SEND)
        node.older = None
        await world.clock.advance(5)
        assert again == [5.0]


async def test_it_is_not_looked_for_any_more_once_the_chain_is_longer() -> None:
    node = Behind()
    world = World(node=node)
    async with world.running():
        await world.plan(intent(1))
        await world.mine(4)
        world.node.undo(4)
        node.older = 1
        await empty(world, 5)
        asked = times(world, COUNT)
        await world.clock.advance(800)
        assert asked == []


async def test_fewer_undone_blocks_than_confirm_are_no_reason_to_read_the_account_at_once() -> None:
    world = World()
    async with world.running():
        await world.plan(intent(1))
        await world.mine(4)
        world.node.undo(3)
        asked = times(world, COUNT)
        await empty(world)
        await world.clock.advance(50)
        assert asked == []


@pytest.mark.parametrize("pending", [False, True])
async def test_a_start_that_finds_less_of_ours_than_there_was_looks_for_it_at_its_first_block(pending: bool) -> None:
    """`pending`: the last one was in no block yet; that is how it is at most starts."""
    world = World()
    async with world.running():
        await world.plan(intent(1))
        await world.mine(4)
        if pending:
            await world.plan(intent(2))
    if not pending:
        world.node.undo(4)
    asked = times(world, COUNT)
    async with world.running():
        sent = Counter(world.node.sends)
        await empty(world)
        assert asked == [0.0, 0.0]
        assert sum((world.node.sends - sent).values()) == (0 if pending else 1)
        await empty(world, 2)
        await world.clock.advance(50)
        assert len(asked) == 2 + pending, "what waits for a block is asked about"
        await world.mine(4)
        assert await world.state(intent(1)) is _S.CONFIRMED


async def test_a_block_heard_of_before_the_start_is_no_reason_to_read_the_account_twice() -> None:
    world = World()
    sender = world.make()
    await world.hear(*world.node.mine(limit=0))
    asked = times(world, COUNT)
    run = asyncio.create_task(sender.run())
    await settle()
    await world.clock.advance(60)
    assert asked == [0.0]
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run


async def test_the_foreign_nonce_is_named_whichever_it_is() -> None:
    world = World()
    run = await start(world)
    await world.plan(intent(1))
    await world.mine(4)
    assert await world.state(intent(1)) is _S.CONFIRMED
    await foreign(world, [1])
    await world.plan(intent(2))
    for _ in range(7):
        if not run.done():
            await empty(world)
            await world.clock.advance(31)
    assert f"nonce 1 of {ME}" in str(await ended(run))


async def test_what_was_replaced_leaves_the_budget_what_it_does_not_need() -> None:
    gas = START_GAS[Effect.ATTEMPT]
    for spare, room in ((0, True), (1, False)):
        world = World(budget=gas * (3_375_000_000 + 3 * GWEI) - spare)
        async with world.running():
            await world.plan(intent(1))
            await empty(world, 3)
            await world.clock.advance(13)
            await empty(world)
            assert len(await prices(world, intent(1))) == 2
            await world.plan(intent(2))
            assert (len(world.node.pool) == 2) == room


@pytest.mark.parametrize("base_fee", [20 * GWEI, None])
async def test_the_nonce_of_a_late_transaction_that_nobody_has_is_given_up_though_prices_fell_far(
    base_fee: int | None,
) -> None:
    """A dearer offer would be many times today's price: without another way its nonce held back all that came after."""
    world = World(node=FakeMempool(base_fee=base_fee))
    late = intent(1, deadline=world.clock.now() + 30)
    world.node.gas_price = 40 * GWEI
    async with world.running():
        await world.plan(late)
        assert max(tx.max_fee for tx in world.node.pool.values()) >= 40 * GWEI
        world.node.pool.clear()
        world.node.base_fee = base_fee and GWEI
        world.node.gas_price = GWEI
        await world.clock.advance(900)  # the price is asked for again
        for _ in range(10):
            await world.mine()
            await world.clock.advance(10)
        assert await world.state(late) is _S.ABANDONED
        await world.plan(intent(2))
        await world.mine(5)
        assert await world.state(intent(2)) is _S.CONFIRMED
