"""The sender with the real store, signer, watcher and contracts, on a node that mines, forgets and undoes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ogpu_provider.chain.networks import devnet
from ogpu_provider.chain.reader import ChainReader
from ogpu_provider.chain.rpc import Rpc
from ogpu_provider.chain.sender import Sender
from ogpu_provider.chain.watcher import Watcher
from ogpu_provider.devnet.accounts import role
from ogpu_provider.devnet.deployment import COIN, deploy
from ogpu_provider.devnet.jsonrpc import JsonRpc
from ogpu_provider.devnet.node import Node
from ogpu_provider.domain.clock import SystemClock
from ogpu_provider.domain.errors import ForeignNonce, RpcUnavailable
from ogpu_provider.domain.facts import Block, Fact, TaskStatus
from ogpu_provider.domain.intent import Intent, IntentRow, IntentState
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.units import Address
from ogpu_provider.keys.policy import Policy
from ogpu_provider.keys.signer import SecretKey, Signer
from ogpu_provider.pipeline.ports import Head
from ogpu_provider.store.sqlite import SqliteStore
from tests.integration.devnet.conftest import Network

pytestmark = pytest.mark.devnet
PROVIDER = role("provider")
ME = Address(PROVIDER.address)
LINK = "http://127.0.0.1:1/ipfs/bafkreibm6jg3ux5qumhcn2b3flc3tyu6dmlb4xa7u5bf44yegnrjhc4yeq"


class Host:
    """A provider host without its path: what the daemon would join around the sender."""

    def __init__(self, network: Network, rpc: Rpc, store: SqliteStore) -> None:
        self.network = network
        self.rpc = rpc
        self.store = store
        self.chain = ChainReader(rpc, rpc.network, ME)
        self.head = Head()
        self.outcomes: list[IntentRow] = []
        self.faults: list[str] = []

    async def taken(self, row: IntentRow) -> None:
        self.outcomes.append(row)

    async def call(self, method: str, *params: Any) -> Any:
        fault = self.faults.pop(0) if self.faults and method == "eth_sendRawTransaction" else ""
        answer = await self.rpc.call(method, *params) if fault != "down" else None
        if fault:
            raise RpcUnavailable(fault)
        return answer

    async def batch(self, calls: Sequence[Any]) -> list[Any]:
        return await self.rpc.batch(calls)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        there = self.rpc.network
        key = SecretKey.from_hex(PROVIDER.private_key)
        signer = Signer(key, Policy(there.chain_id, ME, there.nexus, there.terminal))
        self.sender = Sender(self, self.store, signer, SystemClock(), self.head, self.taken, confirmations=2)

        async def deliver(block: Block, facts: Sequence[Fact]) -> None:
            self.head.block = block
            await self.sender.observe(block, facts)

        watcher = Watcher(self.rpc, there, deliver, SystemClock(), None)
        self.sending = asyncio.create_task(self.sender.run())
        services = [asyncio.create_task(watcher.run()), self.sending]
        try:
            yield
        finally:
            for service in services:
                service.cancel()
            for ended in await asyncio.gather(*services, return_exceptions=True):
                assert isinstance(leaf(ended), asyncio.CancelledError | ForeignNonce), ended

    async def plan(self, *intents: Intent) -> None:
        for intent in intents:
            assert await self.store.plan(intent, at=0.0)
        self.sender.wake()

    async def until(self, intent: Intent, wanted: Callable[[IntentRow], bool], limit: float = 20) -> IntentRow:
        async with asyncio.timeout(limit):
            while True:
                row = await self.store.intent(intent.key)
                if row is not None and wanted(row):
                    return row
                await asyncio.sleep(0.02)

    async def nonce(self) -> int:
        return int(await self.rpc.call("eth_getTransactionCount", ME, "latest"), 16)


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    async with Node(tmp_path / "node.log", block_time=0.2) as node, JsonRpc(node.rpc_url) as setup:
        network = Network(setup, node.rpc_url, await deploy(node.rpc_url))
        await network.pair()
        await network.deposit(network.client, 100 * COIN)
        async with Rpc(devnet(node.rpc_url, node.ws_url)) as rpc:
            store = await SqliteStore.open(tmp_path / "journal.db", chain_id=rpc.network.chain_id, provider=ME)
            yield Host(network, rpc, store)
            await store.close()


async def served(host: Host) -> Address:
    source = Address(await host.network.source())
    register = host.chain.intent_register(source, Environment.CPU)
    await host.plan(register)
    await host.until(register, lambda row: row.state is IntentState.CONFIRMED)
    return source


def closed(row: IntentRow) -> bool:
    return not row.state.open


async def test_a_task_is_won_with_three_transactions(host: Host) -> None:
    async with host.running():
        source = await served(host)
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
        source = await served(host)
        task = Address(await host.network.task(source))
        submit = host.chain.intent_submit(task, LINK, COIN, 2e9)  # without an attempt
        await host.plan(submit)
        row = await host.until(submit, closed)
        assert row.state is IntentState.REVERTED
        assert row.gas_used


@pytest.mark.parametrize("fault", ["lost", "down"])
async def test_a_lost_reply_has_one_effect(host: Host, fault: str) -> None:
    async with host.running():
        source = await served(host)
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
        source = await served(host)
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
        source = await served(host)
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
        source = await served(host)
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
        source = await served(host)
        task = Address(await host.network.task(source))
        await host.rpc.call("evm_setIntervalMining", 0)
        attempt = host.chain.intent_attempt(task, COIN, 2e9)
        await host.plan(attempt)
        await host.until(attempt, lambda row: row.state is IntentState.SENT)
        first = (await host.store.signed(attempt.key))[0]
        await host.rpc.call("anvil_setNextBlockBaseFeePerGas", hex(20 * first.max_fee))
        await host.rpc.call("anvil_setIntervalMining", 1)
        row = await host.until(attempt, closed, 60)
        used = await host.store.signed(attempt.key)
        assert row.state is IntentState.CONFIRMED
        assert {tx.nonce for tx in used} == {first.nonce}
        assert all(b.max_fee * 8 >= a.max_fee * 9 for a, b in pairwise(used))


async def test_a_second_host_with_the_same_key_ends_loudly(host: Host, tmp_path: Path) -> None:
    async with host.running():
        source = await served(host)
        tasks = [Address(await host.network.task(source)) for _ in range(2)]
    other = await SqliteStore.open(tmp_path / "other.db", chain_id=host.rpc.network.chain_id, provider=ME)
    twin = Host(host.network, host.rpc, other)
    async with host.running(), twin.running():
        await asyncio.sleep(0.5)  # both have read the same nonce
        attempts = [host.chain.intent_attempt(task, COIN, 2e9) for task in tasks]
        await host.plan(attempts[0])
        await twin.plan(attempts[1])
        ended, _ = await asyncio.wait({host.sending, twin.sending}, timeout=40, return_when=asyncio.FIRST_COMPLETED)
        assert [type(leaf(task.exception())) for task in ended] == [ForeignNonce]
    await other.close()


def leaf(error: BaseException | None) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        (error,) = error.exceptions
    assert error is not None
    return error
