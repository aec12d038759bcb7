"""A provider host without its path: true sender, watcher, store, signer and contracts on a real node."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from ogpu_provider.chain.decode import Decoder
from ogpu_provider.chain.networks import devnet
from ogpu_provider.chain.reader import ChainReader
from ogpu_provider.chain.rpc import Rpc
from ogpu_provider.chain.sender import Sender
from ogpu_provider.chain.watcher import Watcher
from ogpu_provider.devnet.accounts import role
from ogpu_provider.devnet.deployment import COIN, deploy
from ogpu_provider.devnet.jsonrpc import JsonRpc
from ogpu_provider.devnet.node import Node
from ogpu_provider.domain.clock import Clock, SystemClock
from ogpu_provider.domain.errors import ForeignNonce, RpcUnavailable
from ogpu_provider.domain.facts import Block, Fact
from ogpu_provider.domain.intent import Intent, IntentRow, IntentState, SignedTx
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.units import Address, Hash
from ogpu_provider.keys.policy import Policy
from ogpu_provider.keys.signer import SecretKey, Signer
from ogpu_provider.pipeline.ports import Head
from ogpu_provider.store.sqlite import SqliteStore
from tests.integration.devnet.conftest import Network

PROVIDER = role("provider")
ME = Address(PROVIDER.address)
LINK = "http://127.0.0.1:1/ipfs/bafkreibm6jg3ux5qumhcn2b3flc3tyu6dmlb4xa7u5bf44yegnrjhc4yeq"


@asynccontextmanager
async def a_host(folder: Path, block_time: float = 0.2) -> AsyncIterator["Host"]:
    async with Node(folder / "node.log", block_time=block_time) as node, JsonRpc(node.rpc_url) as setup:
        network = Network(setup, node.rpc_url, await deploy(node.rpc_url))
        await network.pair()
        await network.deposit(network.client, 100 * COIN)
        async with Rpc(devnet(node.rpc_url, node.ws_url), timeout=60.0) as rpc:
            store = await SqliteStore.open(folder / "journal.db", chain_id=rpc.network.chain_id, provider=ME)
            yield Host(network, rpc, store)
            await store.close()


class HeldSigner(Signer):
    """Signs when `free` is set."""

    def __init__(self, key: SecretKey, policy: Policy) -> None:
        super().__init__(key, policy)
        self.free = asyncio.Event()
        self.free.set()

    async def sign(
        self, intent: Intent, *, nonce: int, gas: int, max_fee: int, tip_fee: int | None, at: float
    ) -> SignedTx:
        await self.free.wait()
        return await super().sign(intent, nonce=nonce, gas=gas, max_fee=max_fee, tip_fee=tip_fee, at=at)


class Host:
    """What the daemon would join around the sender. `faults`: what befalls the next sends ("down", "lost").

    `sends` counts how often each raw transaction was handed to the node.
    """

    def __init__(self, network: Network, rpc: Rpc, store: SqliteStore) -> None:
        self.network = network
        self.rpc = rpc
        self.store = store
        self.chain = ChainReader(rpc, rpc.network, ME)
        self.head = Head()
        self.outcomes: list[IntentRow] = []
        self.faults: list[str] = []
        self.sends: Counter[str] = Counter()
        there = rpc.network
        key = SecretKey.from_hex(PROVIDER.private_key)
        self.signer = HeldSigner(key, Policy(there.chain_id, ME, there.nexus, there.terminal))

    async def taken(self, row: IntentRow) -> None:
        self.outcomes.append(row)

    async def call(self, method: str, *params: Any) -> Any:
        fault = ""
        if method == "eth_sendRawTransaction":
            fault = self.faults.pop(0) if self.faults else ""
            self.sends[params[0]] += fault != "down"
        answer = await self.rpc.call(method, *params) if fault != "down" else None
        if fault:
            raise RpcUnavailable(fault)
        return answer

    async def batch(self, calls: Sequence[Any]) -> list[Any]:
        return await self.rpc.batch(calls)

    async def attributed(self, calls: Sequence[Any]) -> tuple[list[Any], str]:
        return await self.batch(calls), ""

    async def elsewhere(self, calls: Sequence[Any], than: str) -> list[Any] | None:
        return None

    @asynccontextmanager
    async def running(
        self, *, confirmations: int = 2, clock: Clock | None = None, start: tuple[int, Hash] | None = None
    ) -> AsyncIterator[None]:
        clock = clock or SystemClock()
        self.sender = Sender(self, self.store, self.signer, clock, self.head, self.taken, confirmations=confirmations)

        async def deliver(block: Block, facts: Sequence[Fact]) -> None:
            self.head.block = block
            await self.sender.observe(block, facts)

        watcher = Watcher(self.rpc, self.rpc.network, deliver, clock, start)
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

    async def until(self, intent: Intent, wanted: Callable[[IntentRow], bool], limit: float = 120) -> IntentRow:
        async with asyncio.timeout(limit):
            while True:
                row = await self.store.intent(intent.key)
                if row is not None and wanted(row):
                    return row
                await asyncio.sleep(0.02)

    async def nonce(self) -> int:
        return int(await self.rpc.call("eth_getTransactionCount", ME, "latest"), 16)

    async def logged(self, task: Address) -> list[str]:
        """What the chain's logs say of a task, in order; read from the first block."""
        there = self.rpc.network
        logs = await self.rpc.call(
            "eth_getLogs", {"fromBlock": "0x0", "toBlock": "latest", "address": [there.nexus, there.terminal]}
        )
        facts = Decoder(there.nexus, there.terminal).facts(logs)
        return [type(fact).__name__ for fact in facts if getattr(fact, "task", "") == task]

    async def served(self) -> Address:
        """A source that we are registered to."""
        source = Address(await self.network.source())
        register = self.chain.intent_register(source, Environment.CPU)
        await self.plan(register)
        await self.until(register, lambda row: row.state is IntentState.CONFIRMED)
        return source


def closed(row: IntentRow) -> bool:
    return not row.state.open


def leaf(error: BaseException | None) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        (error,) = error.exceptions
    assert error is not None
    return error
