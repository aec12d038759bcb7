"""What a daemon joins around a pool of endpoints, without the path: reader, watcher, cross-check and sender."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from ogpu_provider.chain.decode import Decoder
from ogpu_provider.chain.networks import devnet
from ogpu_provider.chain.pool import RpcPool
from ogpu_provider.chain.reader import ChainReader
from ogpu_provider.chain.rpc import Rpc
from ogpu_provider.chain.sender import Sender
from ogpu_provider.chain.watcher import Watcher
from ogpu_provider.chain.witness import CrossCheck
from ogpu_provider.devnet.accounts import Account, role
from ogpu_provider.devnet.deployment import COIN, deploy
from ogpu_provider.devnet.jsonrpc import JsonRpc
from ogpu_provider.devnet.node import Node
from ogpu_provider.domain import facts
from ogpu_provider.domain.clock import SystemClock
from ogpu_provider.domain.facts import Block, Fact
from ogpu_provider.domain.intent import IntentRow
from ogpu_provider.domain.units import Address
from ogpu_provider.keys.policy import Policy
from ogpu_provider.keys.signer import Rules, SecretKey, Signer
from ogpu_provider.pipeline.ports import Head
from ogpu_provider.store.memory import MemoryStore
from tests.auditing import Auditor
from tests.integration.devnet.conftest import Network

PROVIDER = role("provider")
ME = Address(PROVIDER.address)


@asynccontextmanager
async def a_network(tmp_path: Path, block_time: float = 3600) -> AsyncIterator[Network]:
    async with Node(tmp_path / "node.log", block_time=block_time) as node, JsonRpc(node.rpc_url) as setup:
        network = Network(setup, node.rpc_url, await deploy(node.rpc_url))
        await network.pair()
        await network.deposit(network.client, 1000 * COIN)
        yield network


def socket_url(network: Network) -> str:
    return network.url.replace("http://", "ws://")


@asynccontextmanager
async def pool_of(*ends: tuple[str, str], timeout: float = 1.0) -> AsyncIterator[RpcPool]:
    """Each end is an http and a ws URL."""
    pool = RpcPool([Rpc(devnet(http, ws), timeout=timeout, random=lambda: 0.0) for http, ws in ends], hedge=0.1)
    async with pool:
        yield pool


def canonical(network: Network, logs: list[Any]) -> list[Fact]:
    there = devnet(network.url)
    return Decoder(there.nexus, there.terminal).facts(logs)


async def twin(network: Network) -> set[Fact]:
    """What a reader finds who begins now and from the first block."""
    there = devnet(network.url)
    wanted = {"fromBlock": "0x0", "toBlock": "latest", "address": [there.nexus, there.terminal]}
    return set(canonical(network, await network.rpc.call("eth_getLogs", wanted)))


class Host:
    """What a daemon joins around a pool, without the path: `kept` are the facts that were not undone.

    Sends as `account`, under `policy` where that is not the provider's own.
    """

    def __init__(
        self, pool: RpcPool, network: Network, account: Account = PROVIDER, policy: Rules | None = None
    ) -> None:
        self.pool = pool
        self._account = account
        self._policy = policy
        self.network = network
        self.there = devnet(network.url)
        self.chain = ChainReader(pool, self.there, ME)
        self.store = MemoryStore()
        self.head = Head()
        self.kept: set[Fact] = set()
        self.denied: list[Fact] = []
        self.undone = 0

    async def deliver(self, block: Block, found: Sequence[Fact]) -> None:
        self.head.block = block
        await self.sender.observe(block, found)
        self.kept |= set(found)

    async def undo(self, ancestor: Block) -> None:
        self.undone += 1
        self.kept = {fact for fact in self.kept if fact.origin.block_number <= ancestor.number}

    async def disprove(self, block: Block, denied: Sequence[Fact]) -> None:
        self.denied += denied
        self.kept -= set(denied)

    async def taken(self, row: IntentRow) -> None: ...

    @asynccontextmanager
    async def running(self, start: int = 0) -> AsyncIterator[None]:
        key = SecretKey.from_hex(self._account.private_key)
        own = Policy(self.there.chain_id, key.address, self.there.nexus, self.there.terminal)
        signer = Signer(key, self._policy or own)
        self.sender = Sender(self.pool, self.store, signer, SystemClock(), self.head, self.taken, confirmations=1)
        first = await self.network.rpc.call("eth_getBlockByNumber", hex(start), False)
        async with AsyncExitStack() as stack:
            witness = await stack.enter_async_context(CrossCheck(self.pool, self.there, SystemClock(), self.disprove))
            watcher = Watcher(
                self.pool,
                self.there,
                self.deliver,
                SystemClock(),
                (start, first["hash"]),
                undo=self.undo,
                witness=witness if self.pool.several else None,
            )
            services = [asyncio.create_task(watcher.run()), asyncio.create_task(self.sender.run())]
            try:
                yield
            finally:
                for service in services:
                    service.cancel()
                for ended in await asyncio.gather(*services, return_exceptions=True):
                    assert isinstance(ended, asyncio.CancelledError), ended

    async def attempt(self, task: str) -> None:
        assert await self.store.plan(self.chain.intent_attempt(Address(task), COIN, 2e9), at=0.0)
        self.sender.wake()

    async def caught_up(self, limit: float = 180.0) -> None:
        async def same() -> bool:
            return self.kept == await twin(self.network)

        end = time.monotonic() + limit
        while not await same():
            there = await twin(self.network)
            assert time.monotonic() < end, f"missed {there - self.kept}, too many {self.kept - there}"
            await asyncio.sleep(0.05)

    def attempted(self) -> list[str]:
        return [fact.task for fact in self.kept if isinstance(fact, facts.Attempted) and fact.provider == ME]


def auditor_of(network: Network) -> Auditor:
    """A bystander who asks the node itself, whatever stands before it."""
    return Auditor(network.url, network.deployment.nexus, PROVIDER)
