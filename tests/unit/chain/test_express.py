"""The short way to a broadcast: intent and signed bytes in one commit, nothing overtaken, nothing sent unstored."""

import asyncio
from contextlib import suppress

import pytest

from ogpu_provider.chain.fees import START_GAS
from ogpu_provider.domain.errors import StaleRow
from ogpu_provider.domain.intent import Effect, Intent, IntentState
from tests.fakes.clock import settle
from tests.fakes.mempool import GWEI
from tests.unit.chain.sending import World, intent

_S = IntentState


async def commit(world: World, one: Intent) -> bool:
    """As the path does it: intent and bytes together; planned alone where there are none. Says whether there were."""
    async with world.sender.signing([one]) as signed:
        await world.store.plan(one, at=world.clock.now())
        await world.store.put_signed(*signed)
    if not signed:
        world.sender.wake()
    await settle()
    return bool(signed)


async def test_an_intent_is_sent_after_one_commit_and_nothing_was_asked_for() -> None:
    world = World()
    async with world.running() as sender:
        before = world.node.asked.copy()
        async with sender.signing([intent(1)]) as signed:
            await settle()
            assert not world.node.sends
            assert [(tx.intent_key, tx.nonce) for tx in signed] == [(intent(1).key, 0)]
            await world.store.plan(intent(1), at=world.clock.now())
            await world.store.put_signed(*signed)
        await settle()
        assert list(world.node.sends) == [signed[0].hash]
        assert world.node.asked - before == {"eth_sendRawTransaction": 1}
        assert await world.state(intent(1)) is _S.SENT
        await world.mine(4)
        assert await world.state(intent(1)) is _S.CONFIRMED
    assert world.node.sends == {signed[0].hash: 1}


async def test_short_and_long_way_share_the_nonces() -> None:
    world = World()
    async with world.running():
        for n in range(1, 7):
            if n % 2:
                assert await commit(world, intent(n))
            else:
                await world.plan(intent(n))
        assert [(n, tx.intent_key) for n, tx in sorted(world.node.pool.items())] == [
            (n - 1, intent(n).key) for n in range(1, 7)
        ]


async def test_only_one_goes_the_short_way_at_a_time() -> None:
    world = World()
    async with world.running() as sender:
        async with sender.signing([intent(1)]) as first:
            assert not await commit(world, intent(2))
            await world.store.plan(intent(1), at=world.clock.now())
            await world.store.put_signed(*first)
        await settle()
        assert {tx.intent_key: nonce for nonce, tx in world.node.pool.items()} == {intent(1).key: 0, intent(2).key: 1}


async def test_a_response_does_not_overtake_an_attempt_that_waits_for_its_signature() -> None:
    world = World()
    response = intent(1, Effect.SUBMIT_RESPONSE)
    async with world.running():
        world.node.base_fee = 1000 * GWEI  # above the cap
        await world.mine()
        assert not await commit(world, intent(1))
        world.node.base_fee = GWEI
        world.head.block, _ = world.node.mine()
        assert not await commit(world, response)
        await world.mine()
        nonces = {tx.intent_key: tx.nonce for txs in [*world.node.mined, world.node.pool.values()] for tx in txs}
    assert nonces == {intent(1).key: 0, response.key: 1}


async def test_it_is_closed_where_nothing_may_be_signed_now() -> None:
    """No service runs yet; the deadline has passed; the signer refuses: the long way says so, and acts upon it."""
    world = World()
    async with world.make().signing([intent(1)]) as signed:
        assert not signed
    late, refused = intent(2, deadline=world.clock.now() - 1), intent(3)
    world.signer.refused.add(refused.key)
    async with world.running():
        for one in (late, refused):
            assert not await commit(world, one)
            assert await world.state(one) is _S.ABANDONED
        assert await commit(world, intent(4))
    assert not any(tx.intent_key in (late.key, refused.key) for tx in world.node.pool.values())


async def test_the_days_budget_counts_what_goes_the_short_way() -> None:
    one = START_GAS[Effect.ATTEMPT] * 3 * GWEI
    world = World(budget=5 * one // 2)
    async with world.running():
        assert [await commit(world, intent(n)) for n in range(1, 5)] == [True, True, False, False]
        assert sum(tx.gas * tx.max_fee for tx in world.node.pool.values()) == 2 * one


async def test_what_was_not_committed_is_not_sent_and_its_nonce_is_the_next_ones() -> None:
    world = World()
    async with world.running() as sender:
        with pytest.raises(StaleRow):
            async with sender.signing([intent(1)]):
                raise StaleRow("somebody was faster")
        await settle()
        assert not world.node.sends
        assert await commit(world, intent(2))
        assert {tx.nonce: tx.intent_key for tx in world.node.pool.values()} == {0: intent(2).key}


@pytest.mark.parametrize("how", ["error", "cancelled"])
async def test_what_was_committed_although_the_caller_failed_is_sent_and_keeps_its_nonce(how: str) -> None:
    world = World()

    async def cut_off() -> None:
        async with world.sender.signing([intent(1)]) as signed:
            await world.store.plan(intent(1), at=world.clock.now())
            await world.store.put_signed(*signed)
            raise asyncio.CancelledError if how == "cancelled" else RuntimeError("after the commit")

    async with world.running():
        with suppress(RuntimeError, asyncio.CancelledError):
            await cut_off()
        await settle()
        assert await commit(world, intent(2))
        await world.clock.advance(5)
        assert {tx.nonce: tx.intent_key for tx in world.node.pool.values()} == {0: intent(1).key, 1: intent(2).key}


async def test_an_intent_that_flies_already_is_not_signed_again() -> None:
    world = World()
    async with world.running() as sender:
        assert await commit(world, intent(1))
        async with sender.signing([intent(1)]) as signed:
            assert not signed
