"""A whole daemon behind two endpoints that both go away: at its start, and in the middle of its work."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from ogpu_provider.devnet import accounts
from ogpu_provider.devnet.deployment import pair_and_fund
from ogpu_provider.devnet.engine import remove_instance
from ogpu_provider.devnet.network import LocalNetwork
from ogpu_provider.devnet.provider_process import ProviderProcess
from ogpu_provider.devnet.publishing import publish_sample
from ogpu_provider.devnet.sdk import SdkClient
from ogpu_provider.domain.task import TaskState
from ogpu_provider.domain.units import Address
from tests.e2e.world import World
from tests.faults.proxy import Fault, Proxy
from tests.waiting import open_when_there, sources_ready

INSTANCE = "faults"
pytestmark = [pytest.mark.devnet, pytest.mark.docker]
DOWN_S = 4.0


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as opened:
        yield opened
    await remove_instance(INSTANCE)


async def test_a_daemon_outlives_all_of_its_endpoints(tmp_path: Path, stack: AsyncExitStack) -> None:
    network = await stack.enter_async_context(LocalNetwork(tmp_path / "network"))
    made = network.describe()
    ends = [await stack.enter_async_context(Proxy(made["rpc_url"], seed=seed)) for seed in (1, 2)]
    await pair_and_fund(network.node.rpc_url, network.deployment)
    key = accounts.role("client").private_key
    client = await stack.enter_async_context(SdkClient(made["rpc_url"], made["pin_url"] + "/file/create", key))
    source = Address(await publish_sample(network, client, "multiply"))
    for end in ends:
        await end.arm(Fault.REFUSE)
    daemon = ProviderProcess(
        tmp_path,
        {**made, "rpc_url": ends[0].url, "ws_url": ends[0].ws_url},
        accounts.role("provider").private_key,
        {
            "network": {"rpc_urls": [ends[1].url, ends[1].ws_url]},
            "admission": {"min_payment": "0.005", "min_time_left": 5.0, "cpu_slots": 3},
            "runtime": {"instance": INSTANCE},
        },
    )
    await stack.enter_async_context(daemon)
    reader = await open_when_there(daemon)
    stack.push_async_callback(reader.close)
    await asyncio.sleep(DOWN_S)
    daemon.check()
    for end in ends:
        await end.disarm()
    await sources_ready(daemon, reader, {source})
    world = World(network, client, daemon, {"multiply": source}, reader)

    first = await world.publish("multiply", "multiply", {"a": 6, "b": 7})
    await world.row(first)
    for end in ends:
        await end.arm(Fault.REFUSE)
    missed = await world.publish("multiply", "multiply", {"a": 2, "b": 3})
    await asyncio.sleep(DOWN_S)
    daemon.check()
    await ends[1].disarm()  # and the first stays away
    for task in (first, missed):
        assert (await world.reaches(task, TaskState.SETTLED)).response
