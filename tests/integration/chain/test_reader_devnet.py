"""The read side over a real node with the contracts: what it costs, how fast it is, and what a fork does to it."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from ogpu_provider.chain.decode import TOPICS, Bloom
from ogpu_provider.chain.networks import devnet
from ogpu_provider.chain.reader import ChainReader
from ogpu_provider.chain.rpc import Rpc
from ogpu_provider.chain.wallet import Wallet
from ogpu_provider.chain.watcher import Watcher
from ogpu_provider.devnet.accounts import role
from ogpu_provider.devnet.deployment import COIN, deploy
from ogpu_provider.devnet.jsonrpc import JsonRpc
from ogpu_provider.devnet.node import Node
from ogpu_provider.domain import facts
from ogpu_provider.domain.clock import SystemClock
from ogpu_provider.domain.facts import Block, Fact
from ogpu_provider.domain.units import Address, Hash
from tests.integration.devnet.conftest import CPU, Network

pytestmark = pytest.mark.devnet
US = Address(role("provider").address)


class Diary:
    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.facts: list[Fact] = []
        self.at: dict[Hash, float] = {}

    async def deliver(self, block: Block, found: Sequence[Fact]) -> None:
        self.at.setdefault(block.hash, time.perf_counter())
        self.blocks.append(block)
        self.facts += found

    def tasks(self) -> list[str]:
        return [fact.task for fact in self.facts if isinstance(fact, facts.TaskPublished)]

    async def until(self, number: int) -> None:
        async with asyncio.timeout(60):
            while not self.blocks or self.blocks[-1].number < number:
                await asyncio.sleep(0.005)


@asynccontextmanager
async def a_network(tmp_path: Path, block_time: float = 3600) -> AsyncIterator[tuple[Network, Node]]:
    async with Node(tmp_path / "node.log", block_time=block_time) as node, JsonRpc(node.rpc_url) as setup:
        yield Network(setup, node.rpc_url, await deploy(node.rpc_url)), node


@asynccontextmanager
async def watching(rpc: Rpc, start: tuple[int, Hash] | None = None) -> AsyncIterator[Diary]:
    diary = Diary()
    watcher = Watcher(rpc, rpc.network, diary.deliver, SystemClock(), start)
    task = asyncio.ensure_future(watcher.run())
    try:
        yield diary
        if task.done():
            task.result()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def height(network: Network) -> int:
    return int(await network.rpc.call("eth_blockNumber"), 16)


async def header(network: Network, number: int) -> dict[str, Any]:
    found: dict[str, Any] = await network.rpc.call("eth_getBlockByNumber", hex(number), False)
    return found


@pytest.mark.parametrize("pushed", [True, False])
async def test_every_event_of_a_task_is_delivered_in_order(tmp_path: Path, pushed: bool) -> None:
    async with a_network(tmp_path) as (network, node):
        master, provider = await network.pair()
        await network.deposit(network.client, 10 * COIN)
        async with Rpc(devnet(node.rpc_url, node.ws_url if pushed else "")) as rpc, watching(rpc) as diary:
            await diary.until(await height(network))
            source = await network.source()
            await network.register(source, provider)
            task = await network.task(source)
            await network.attempt(task, provider)
            await network.submit(task, provider)
            await network.act(master, "Terminal", "removeContainer", provider.address, source)
            await network.act(network.client, "Nexus", "inactivateSource", source)
            await network.act(master, "Terminal", "removeProvider", provider.address)
            await diary.until(await height(network))
        names = [type(fact).__name__ for fact in diary.facts if fact.origin.block_number > 0]
        assert names[names.index("SourcePublished") :] == [
            "SourcePublished",
            "Registered",
            "TaskPublished",
            "Attempted",
            "TaskStatusChanged",
            "ResponseSubmitted",
            "TaskStatusChanged",
            "TaskStatusChanged",
            "RemoveContainer",
            "SourceStatusChanged",
            "ProviderRemoved",
        ]
        registered = next(fact for fact in diary.facts if isinstance(fact, facts.Registered))
        assert (registered.provider, registered.source, int(registered.environment)) == (provider.address, source, CPU)


async def test_an_announced_block_is_delivered_at_once_for_no_call(tmp_path: Path) -> None:
    async with a_network(tmp_path, block_time=0.25) as (network, node):
        there = devnet(node.rpc_url, node.ws_url)
        async with Rpc(there) as rpc, Rpc(there) as other, watching(rpc) as diary:
            await diary.until(await height(network))
            await asyncio.sleep(0.5)
            rpc.counts.clear()
            heads = await other.subscribe()
            before, announced = len(diary.blocks), {}
            for _ in range(10):
                for head in (await anext(heads)).heads:
                    announced[head["hash"]] = time.perf_counter()
            await asyncio.sleep(0.05)
            assert len(diary.blocks) > before
            assert rpc.counts == {}  # neither head nor logs are asked for
        late = sorted(diary.at[Hash(name)] - at for name, at in announced.items())
        assert len(late) == 10
        assert late[5] < 0.02


async def test_what_happened_while_away_is_delivered_after_the_restart(tmp_path: Path) -> None:
    async with a_network(tmp_path) as (network, node):
        await network.deposit(network.client, 10 * COIN)
        source = await network.source()
        seen = await header(network, await height(network))
        missed = [await network.task(source) for _ in range(3)]
        cursor = int(seen["number"], 16), Hash(seen["hash"])
        async with Rpc(devnet(node.rpc_url, node.ws_url)) as rpc, watching(rpc, cursor) as diary:
            await diary.until(await height(network))
            live = await network.task(source)
            await diary.until(await height(network))
        assert diary.tasks() == [*missed, live]


async def test_a_fork_delivers_the_blocks_that_took_the_place_of_others(tmp_path: Path) -> None:
    async with a_network(tmp_path) as (network, node):
        await network.deposit(network.client, 10 * COIN)
        source = await network.source()
        async with Rpc(devnet(node.rpc_url, node.ws_url)) as rpc, watching(rpc) as diary:
            await diary.until(await height(network))
            for _ in range(3):
                await network.task(source)
            await diary.until(await height(network))
            top = await height(network)
            await network.rpc.call("anvil_reorg", 2, [])
            replaced = await network.task(source)
            await diary.until(top + 1)
            canonical = [Hash((await header(network, number))["hash"]) for number in (top, top + 1)]
        assert [block.hash for block in diary.blocks[-2:]] == canonical  # and the empty one before was skipped
        assert diary.tasks()[-1] == replaced


async def test_a_node_that_went_away_and_came_back_is_caught_up_with(tmp_path: Path) -> None:
    """Through a relay that is cut: the node keeps its chain, the connection is gone."""
    async with a_network(tmp_path) as (network, node):
        await network.deposit(network.client, 10 * COIN)
        source = await network.source()
        relay = Relay(int(node.rpc_url.rsplit(":", 1)[1]))
        await relay.open()
        async with Rpc(devnet("", f"ws://127.0.0.1:{relay.port}"), random=lambda: 0.0) as rpc, watching(rpc) as diary:
            await diary.until(await height(network))
            relay.cut()
            missed = [await network.task(source) for _ in range(2)]
            await relay.open()
            await diary.until(await height(network))
            live = await network.task(source)
            await diary.until(await height(network))
            assert diary.tasks() == [*missed, live]
        relay.cut()


async def test_blooms_of_the_node_hold_our_events_and_not_those_of_others(tmp_path: Path) -> None:
    async with a_network(tmp_path) as (network, _):
        await network.deposit(network.client, 10 * COIN)
        source = await network.source()
        await network.task(source)
        with_task = await header(network, await height(network))
        await network.rpc.call("evm_mine")
        without = await header(network, await height(network))
    ours = Bloom([network.deployment.nexus]), Bloom(TOPICS)
    assert all(bloom.may_hold(with_task["logsBloom"]) for bloom in ours)
    assert not any(bloom.may_hold(without["logsBloom"]) for bloom in ours)


async def test_a_read_of_the_path_is_one_request(tmp_path: Path) -> None:
    async with a_network(tmp_path) as (network, node):
        await network.deposit(network.client, 10 * COIN)
        source = await network.source()
        task = Address(await network.task(source))
        async with Rpc(devnet(node.rpc_url, node.ws_url)) as rpc:
            reader = ChainReader(rpc, rpc.network, US)
            await reader.published(task)
            rpc.counts.clear()
            await reader.published(task)
            assert rpc.counts == {"eth_call": 1}
            assert await reader.winner(task) is None
            assert rpc.counts == {"eth_call": 2}


async def test_the_wallet_shows_what_the_contracts_hold(tmp_path: Path) -> None:
    async with a_network(tmp_path) as (network, node):
        master, provider = await network.pair(lockup=1000 * COIN)
        async with Rpc(devnet(node.rpc_url)) as rpc:
            wallet = Wallet(rpc, rpc.network)
            pairing = await wallet.pairing(Address(provider.address))
            assert (pairing.master, pairing.announced) == (master.address, True)
            assert await wallet.provider_of(Address(master.address)) == provider.address
            held = [await wallet.vault(Address(who.address)) for who in (master, provider)]
            assert 1000 * COIN in [account.lockup for account in held]
            assert (await wallet.terms()).min_lockup_per_source > 0
            assert await wallet.has_provider_role(Address(provider.address))
            assert not await wallet.has_provider_role(Address(network.client.address))
            assert await wallet.balance(Address(provider.address)) > 0
            assert (await wallet.fees()).base_fee is not None
            assert await wallet.nonce(Address(provider.address)) == 1


class Relay:
    """TCP to a local port, until it is cut."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers |= {writer, back}
        await asyncio.gather(_pump(reader, back), _pump(there, writer), return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.close()
