"""Every fault of an endpoint, on every method that the daemon uses, in front of a real node.

What must hold is judged by the node itself: a twin reads its canonical logs from the first block.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from ogpu_provider.chain.decode import Decoder
from ogpu_provider.chain.networks import devnet
from ogpu_provider.chain.pool import RpcPool
from ogpu_provider.chain.reader import ChainReader
from ogpu_provider.chain.rpc import Rpc
from ogpu_provider.chain.sender import Sender
from ogpu_provider.chain.watcher import Watcher
from ogpu_provider.chain.wire import JsonRpcError
from ogpu_provider.chain.witness import CrossCheck
from ogpu_provider.devnet.accounts import role
from ogpu_provider.devnet.deployment import COIN, deploy
from ogpu_provider.devnet.jsonrpc import JsonRpc
from ogpu_provider.devnet.node import Node
from ogpu_provider.domain import facts
from ogpu_provider.domain.clock import SystemClock
from ogpu_provider.domain.errors import ChainError
from ogpu_provider.domain.facts import Block, Fact
from ogpu_provider.domain.intent import IntentRow
from ogpu_provider.domain.units import Address
from ogpu_provider.keys.policy import Policy
from ogpu_provider.keys.signer import SecretKey, Signer
from ogpu_provider.pipeline.ports import Head
from ogpu_provider.store.memory import MemoryStore
from tests.faults.proxy import LIES, OUTAGES, Fault, Proxy
from tests.integration.devnet.conftest import Network
from tests.sizes import size

pytestmark = pytest.mark.devnet
PROVIDER = role("provider")
ME = Address(PROVIDER.address)
BLOCKS = size("fault blocks")
METHODS = (
    "eth_chainId",
    "eth_getCode",
    "eth_blockNumber",
    "eth_getBlockByNumber",
    "eth_getBlockByHash",
    "eth_getLogs",
    "eth_call",
    "eth_getTransactionReceipt",
    "eth_getBlockReceipts",
    "eth_getTransactionByHash",
    "eth_getTransactionCount",
    "eth_getBalance",
    "eth_maxPriorityFeePerGas",
    "eth_gasPrice",
    "eth_sendRawTransaction",
)
"""Besides eth_subscribe, whose faults the running stack meets."""


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
async def pool_of(*ends: tuple[str, str], timeout: float = 0.4) -> AsyncIterator[RpcPool]:
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
    """What a daemon joins around a pool, without the path: `kept` are the facts that were not undone."""

    def __init__(self, pool: RpcPool, network: Network) -> None:
        self.pool = pool
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
        key = SecretKey.from_hex(PROVIDER.private_key)
        signer = Signer(key, Policy(self.there.chain_id, ME, self.there.nexus, self.there.terminal))
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

    async def caught_up(self, limit: float = 20.0) -> None:
        async def same() -> bool:
            return self.kept == await twin(self.network)

        end = time.monotonic() + limit
        while not await same():
            there = await twin(self.network)
            assert time.monotonic() < end, f"missed {there - self.kept}, too many {self.kept - there}"
            await asyncio.sleep(0.05)

    def attempted(self) -> list[str]:
        return [fact.task for fact in self.kept if isinstance(fact, facts.Attempted) and fact.provider == ME]


async def samples(network: Network, host: Host) -> dict[str, tuple[Any, ...]]:
    """A call of each method, about a block with a task in it."""
    await network.task(await network.source())
    block = await network.rpc.call("eth_getBlockByNumber", "latest", False)
    await network.rpc.call("anvil_mine", "0x6")
    there, tx = host.there, block["transactions"][0]
    raw = await network.rpc.call("eth_getRawTransactionByHash", tx)
    return {
        "eth_chainId": (),
        "eth_getCode": (there.nexus, "latest"),
        "eth_blockNumber": (),
        "eth_getBlockByNumber": (block["number"], False),
        "eth_getBlockByHash": (block["hash"], False),
        "eth_getLogs": ({"blockHash": block["hash"], "address": [there.nexus]},),
        "eth_call": ({"to": there.vault, "data": "0x"}, "latest"),
        "eth_getTransactionReceipt": (tx,),
        "eth_getBlockReceipts": (block["number"],),
        "eth_getTransactionByHash": (tx,),
        "eth_getTransactionCount": (ME, "latest"),
        "eth_getBalance": (ME, "latest"),
        "eth_maxPriorityFeePerGas": (),
        "eth_gasPrice": (),
        "eth_sendRawTransaction": (raw,),  # known already: refused, and that is its honest answer
    }


async def said(call: Callable[..., Any], method: str, params: tuple[Any, ...]) -> Any:
    try:
        return await call(method, *params)
    except JsonRpcError as error:
        return f"refused: {error.rpc_code}"


async def test_every_outage_on_every_method_is_an_honest_answer_or_none_and_a_second_endpoint_gives_it(
    tmp_path: Path,
) -> None:
    async with a_network(tmp_path) as network, Proxy(network.url, seed=7) as proxy:
        async with pool_of((network.url, "")) as honest:
            asked = await samples(network, Host(honest, network))
            truth = {method: await said(honest.call, method, params) for method, params in asked.items()}
        assert set(asked) == set(METHODS)
        for fault in OUTAGES:
            async with (
                pool_of((proxy.url, ""), timeout=0.3) as alone,
                pool_of((proxy.url, ""), (network.url, ""), timeout=0.3) as pair,
            ):
                for method in METHODS:
                    await proxy.arm(fault, method)
                    began = time.monotonic()
                    try:
                        assert await said(alone.call, method, asked[method]) == truth[method], (fault, method)
                    except ChainError:
                        assert fault is not Fault.SLOW
                    assert await said(pair.call, method, asked[method]) == truth[method], (fault, method)
                    assert time.monotonic() - began < 2.5, (fault, method)
                    await proxy.disarm()
        struck = {(fault, method) for fault, method in proxy.struck}
        owed = {(f, m) for f in OUTAGES for m in METHODS if f is not Fault.REFUSE}
        assert len(owed - struck) <= len(METHODS), owed - struck  # chain id alone can be wrong on one


async def test_outages_cost_time_and_neither_a_log_nor_a_second_transaction(tmp_path: Path) -> None:
    async with (
        a_network(tmp_path, block_time=0.1) as network,
        Proxy(network.url, seed=11) as proxy,
        pool_of((proxy.url, proxy.ws_url)) as pool,
    ):
        host = Host(pool, network)
        source = await network.source()
        await network.register(source, network.provider)
        tasks: list[str] = []
        async with host.running():
            await host.caught_up()
            for fault in OUTAGES:
                if fault is Fault.WRONG_CHAIN:  # the only endpoint on another network ends a daemon, and should
                    continue
                await proxy.arm(fault, rate=0.5)
                tasks.append(await network.task(source))
                await host.attempt(tasks[-1])
                await asyncio.sleep(0.6)
                await proxy.disarm()
            async with asyncio.timeout(40):
                while len(host.attempted()) < len(tasks):
                    await asyncio.sleep(0.1)
            await host.caught_up()
        assert sorted(host.attempted()) == sorted(tasks)
        assert host.undone == 0


@pytest.mark.parametrize("fault", [*LIES, Fault.WRONG_CHAIN, Fault.REFUSE, Fault.HANG])
async def test_no_lie_and_no_silence_of_one_endpoint_matters_for_long(tmp_path: Path, fault: Fault) -> None:
    async with (
        a_network(tmp_path, block_time=0.1) as network,
        Proxy(network.url, seed=13) as proxy,
        pool_of((proxy.url, proxy.ws_url), (network.url, socket_url(network))) as pool,
    ):
        host = Host(pool, network)
        source = await network.source()
        await network.register(source, network.provider)
        async with host.running():
            await host.caught_up()
            await proxy.arm(fault)
            tasks = [await network.task(source) for _ in range(3)]
            for task in tasks:
                await host.attempt(task)
            await asyncio.sleep(1.0)
            await proxy.disarm()
            async with asyncio.timeout(30):
                while len(host.attempted()) < len(tasks):
                    await asyncio.sleep(0.1)
            await host.caught_up()
        assert sorted(host.attempted()) == sorted(tasks)
        if proxy.forged:
            assert host.denied


async def test_a_lagging_pair_skips_no_block(tmp_path: Path) -> None:
    draw = random.Random(17)
    async with (
        a_network(tmp_path) as network,
        Proxy(network.url, seed=17) as first,
        Proxy(network.url, seed=19) as second,
        pool_of((first.url, first.ws_url), (second.url, second.ws_url)) as pool,
    ):
        host = Host(pool, network)
        source = await network.source()
        async with host.running():
            for number in range(BLOCKS):
                if number % 20 == 0:
                    for proxy in (first, second):
                        proxy.lag = draw.randint(1, 8)
                        await proxy.arm(draw.choice([Fault.LAG, Fault.ALTERNATE]))
                if draw.random() < 0.1:
                    await network.task(source)
                else:
                    await network.rpc.call("evm_mine")
            await first.disarm()
            await network.rpc.call("evm_mine")
            await host.caught_up(30)
        assert host.undone == 0


async def test_reorganisations_of_every_depth_leave_what_a_twin_reads(tmp_path: Path) -> None:
    async with a_network(tmp_path) as network, pool_of((network.url, socket_url(network))) as pool:
        host = Host(pool, network)
        await network.rpc.call("anvil_mine", hex(13))
        async with host.running():
            for depth in range(1, 13):
                kinds = await _a_life(network)
                await host.caught_up()
                assert kinds <= {type(fact) for fact in host.kept}
                await network.rpc.call("anvil_reorg", depth, [])
                if depth % 2:  # what takes the place is no empty block
                    await network.source()
                await network.rpc.call("evm_mine")
                await host.caught_up()
                assert host.undone == depth
                await network.rpc.call("anvil_mine", hex(13))


async def _a_life(network: Network) -> set[type[Fact]]:
    """A source, a registration, and a task to its end: one block each."""
    source = await network.source()
    await network.register(source, network.provider)
    task = await network.task(source)
    await network.attempt(task, network.provider)
    await network.submit(task, network.provider)
    return {
        facts.SourcePublished,
        facts.Registered,
        facts.TaskPublished,
        facts.Attempted,
        facts.ResponseSubmitted,
        facts.TaskStatusChanged,
    }
