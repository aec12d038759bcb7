"""Every fault of an endpoint, on every method that the daemon uses, in front of a real node.

What must hold is judged by the node itself: a twin reads its canonical logs from the first block.
"""

import asyncio
import random
from pathlib import Path

import pytest

from ogpu_provider.devnet import accounts
from ogpu_provider.domain import facts
from ogpu_provider.domain.facts import Fact
from tests.faults.host import Host, a_network, pool_of, socket_url
from tests.faults.lies import LIES, OUTAGES, Fault
from tests.faults.proxy import Proxy
from tests.integration.devnet.conftest import Network
from tests.sizes import size

pytestmark = [pytest.mark.devnet, pytest.mark.timeout(900)]
BLOCKS = size("fault blocks")


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
            async with asyncio.timeout(60):
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
            async with asyncio.timeout(60):
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
            await host.caught_up()
        assert host.undone == 0


async def test_reorganisations_of_every_depth_leave_what_a_twin_reads(tmp_path: Path) -> None:
    async with a_network(tmp_path) as network, pool_of((network.url, socket_url(network))) as pool:
        host = Host(pool, network, accounts.role("agent"))  # whose key nobody else sends with, as the lives do
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
