"""The sender with the real store, signer, watcher and contracts, on a node that mines, forgets and undoes."""

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest

from ogpu_provider.devnet.deployment import COIN
from ogpu_provider.domain.errors import ForeignNonce
from ogpu_provider.domain.facts import TaskStatus
from ogpu_provider.domain.intent import IntentState
from ogpu_provider.domain.units import Address
from ogpu_provider.store.sqlite import SqliteStore
from tests.integration.chain.host import LINK, ME, Host, a_host, closed, leaf

pytestmark = pytest.mark.devnet


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    async with a_host(tmp_path) as host:
        yield host


async def test_a_task_is_won_with_three_transactions(host: Host) -> None:
    async with host.running():
        source = await host.served()
        task = Address(await host.network.task(source))
        attempt = host.chain.intent_attempt(task, COIN, 2e9)
        submit = host.chain.intent_submit(task, LINK, COIN, 2e9)
        before = await host.nonce()
        await host.plan(attempt, submit)  # behind each other, in one block or two
        rows = [await host.until(intent, closed) for intent in (attempt, submit)]
        assert [row.state for row in rows] == [IntentState.CONFIRMED] * 2
        assert [row.nonce for row in rows] == [before, before + 1]
        assert await host.nonce() == before + 2
        view = await host.chain.standing(task)
        assert (view.status, view.winner) == (TaskStatus.FINALIZED, ME)
        for row in rows:
            receipt = await host.rpc.call("eth_getTransactionReceipt", row.tx_hash)
            assert row.gas_used == int(receipt["gasUsed"], 16)
            assert row.fee_paid == row.gas_used * int(receipt["effectiveGasPrice"], 16)
    assert [row.state for row in host.outcomes] == [IntentState.CONFIRMED] * 3


async def test_a_refusal_by_the_contract_is_a_reverted_intent(host: Host) -> None:
    async with host.running():
        source = await host.served()
        task = Address(await host.network.task(source))
        submit = host.chain.intent_submit(task, LINK, COIN, 2e9)  # without an attempt
        await host.plan(submit)
        row = await host.until(submit, closed)
        assert row.state is IntentState.REVERTED
        assert row.gas_used


@pytest.mark.parametrize("fault", ["lost", "down"])
async def test_a_lost_reply_has_one_effect(host: Host, fault: str) -> None:
    async with host.running():
        source = await host.served()
        task = Address(await host.network.task(source))
        before = await host.nonce()
        host.faults = [fault, fault]
        attempt = host.chain.intent_attempt(task, COIN, 2e9)
        await host.plan(attempt)
        row = await host.until(attempt, closed)
        assert row.state is IntentState.CONFIRMED
        assert await host.nonce() == before + 1
        assert len(await host.store.signed(attempt.key)) == 1


async def test_a_crash_between_commit_and_send_sends_the_same_bytes_once(host: Host) -> None:
    async with host.running():
        source = await host.served()
        task = Address(await host.network.task(source))
        attempt = host.chain.intent_attempt(task, COIN, 2e9)
        host.faults = ["down"] * 50
        await host.plan(attempt)
        await host.until(attempt, lambda row: row.state is IntentState.SIGNED)
    (tx,) = await host.store.signed(attempt.key)
    host.faults = []
    async with host.running():
        row = await host.until(attempt, closed)
    assert (row.state, row.tx_hash) == (IntentState.CONFIRMED, tx.hash)
    assert await host.store.signed(attempt.key) == [tx]


async def test_a_dropped_transaction_is_sent_again(host: Host) -> None:
    async with host.running():
        source = await host.served()
        task = Address(await host.network.task(source))
        await host.rpc.call("evm_setIntervalMining", 0)
        attempt = host.chain.intent_attempt(task, COIN, 2e9)
        await host.plan(attempt)
        row = await host.until(attempt, lambda row: row.state is IntentState.SENT)
        assert await host.rpc.call("anvil_dropTransaction", row.tx_hash) == row.tx_hash
        for _ in range(3):
            await host.rpc.call("evm_mine")
            await asyncio.sleep(0.2)
        await host.rpc.call("anvil_setIntervalMining", 1)
        done = await host.until(attempt, closed)
        assert (done.state, done.tx_hash) == (IntentState.CONFIRMED, row.tx_hash)


async def test_an_undone_block_costs_nothing_but_time(host: Host) -> None:
    async with host.running():
        source = await host.served()
        task = Address(await host.network.task(source))
        await asyncio.sleep(0.5)  # the task shall lie deeper than what is undone
        await host.rpc.call("evm_setIntervalMining", 0)
        attempt = host.chain.intent_attempt(task, COIN, 2e9)
        await host.plan(attempt)
        await host.until(attempt, lambda row: row.state is IntentState.SENT)
        await host.rpc.call("evm_mine")
        row = await host.until(attempt, lambda row: row.state is IntentState.MINED)
        await host.rpc.call("anvil_reorg", 1, [])
        assert await host.rpc.call("eth_getTransactionReceipt", row.tx_hash) is None
        await host.rpc.call("evm_mine")
        await host.until(attempt, lambda row: row.state is IntentState.SENT)
        await host.rpc.call("anvil_setIntervalMining", 1)
        done = await host.until(attempt, closed)
        assert (done.state, done.tx_hash) == (IntentState.CONFIRMED, row.tx_hash)
        assert len(await host.store.signed(attempt.key)) == 1


async def test_a_base_fee_twenty_times_higher_is_followed(host: Host) -> None:
    async with host.running():
        source = await host.served()
        task = Address(await host.network.task(source))
        await host.rpc.call("evm_setIntervalMining", 0)
        attempt = host.chain.intent_attempt(task, COIN, 2e9)
        await host.plan(attempt)
        await host.until(attempt, lambda row: row.state is IntentState.SENT)
        first = (await host.store.signed(attempt.key))[0]
        await host.rpc.call("anvil_setNextBlockBaseFeePerGas", hex(20 * first.max_fee))
        await host.rpc.call("anvil_setIntervalMining", 1)
        row = await host.until(attempt, closed)
        used = await host.store.signed(attempt.key)
        assert row.state is IntentState.CONFIRMED
        assert {tx.nonce for tx in used} == {first.nonce}
        assert all(b.max_fee * 8 >= a.max_fee * 9 for a, b in pairwise(used))


async def test_a_second_host_with_the_same_key_ends_loudly(host: Host, tmp_path: Path) -> None:
    async with host.running():
        source = await host.served()
        tasks = [Address(await host.network.task(source)) for _ in range(2)]
    other = await SqliteStore.open(tmp_path / "other.db", chain_id=host.rpc.network.chain_id, provider=ME)
    twin = Host(host.network, host.rpc, other)
    async with host.running(), twin.running():
        await asyncio.sleep(0.5)  # both have read the same nonce
        attempts = [host.chain.intent_attempt(task, COIN, 2e9) for task in tasks]
        await host.plan(attempts[0])
        await twin.plan(attempts[1])
        ended, _ = await asyncio.wait({host.sending, twin.sending}, timeout=120, return_when=asyncio.FIRST_COMPLETED)
        assert [type(leaf(task.exception())) for task in ended] == [ForeignNonce]
    await other.close()
