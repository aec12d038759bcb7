"""kill -9 of a real daemon at every kill point, then a restart: paid, attempted once, answered once."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from ogpu_provider.devnet import accounts
from ogpu_provider.devnet.deployment import pair_and_fund
from ogpu_provider.devnet.engine import project_sources, remove_instance
from ogpu_provider.devnet.jsonrpc import JsonRpc
from ogpu_provider.devnet.network import LocalNetwork
from ogpu_provider.devnet.provider_process import ProviderProcess
from ogpu_provider.devnet.publishing import publish_sample
from ogpu_provider.devnet.sdk import SdkClient
from ogpu_provider.domain.killpoints import POINTS
from ogpu_provider.domain.source import DeliveryMethod
from ogpu_provider.domain.task import TaskState
from ogpu_provider.domain.units import Address
from tests.auditing import effects
from tests.e2e.world import World
from tests.waiting import open_when_there, sources_ready, until

pytestmark = [
    pytest.mark.devnet,
    pytest.mark.docker,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(300),
]
INSTANCE = "crash"
LIFE_S = 30.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder: Path = tmp_path_factory.mktemp("crash")
    settings: dict[str, dict[str, object]] = {
        "admission": {"min_time_left": 5.0, "cpu_slots": 4, "slots_per_source": 4},
        "runtime": {"instance": INSTANCE},
    }
    async with LocalNetwork(folder, block_time=0.5) as network:
        made = network.describe()
        await pair_and_fund(network.node.rpc_url, network.deployment)
        key = accounts.role("client").private_key
        async with SdkClient(made["rpc_url"], made["pin_url"] + "/file/create", key) as client:
            manual = DeliveryMethod.MANUAL_CONFIRMATION
            sources = {
                "multiply": Address(await publish_sample(network, client, "multiply")),
                "manual": Address(await publish_sample(network, client, "multiply", delivery=manual, title="manual")),
            }
            try:
                async with ProviderProcess(folder, made, accounts.role("provider").private_key, settings) as daemon:
                    reader = await open_when_there(daemon)
                    await sources_ready(daemon, reader, set(sources.values()))
                    yield World(network, client, daemon, sources, reader)
                    await reader.close()
            finally:
                await remove_instance(INSTANCE)


@pytest.mark.parametrize("point", POINTS)
async def test_a_task_survives_the_daemons_death_at(point: str, world: World) -> None:
    daemon = world.daemon
    await daemon.stop()
    await daemon.start(("-m", "tests.crash.armed", point))
    await until(lambda: _serving(world), 60, "the daemon to serve")
    name = "manual" if "responded" in point else "multiply"
    task = await world.publish(name, "multiply", {"a": 6, "b": len(point)}, life=LIFE_S)
    await until(daemon.died, 60, f"the daemon to die at {point}")
    assert daemon.exit_code == -9
    await daemon.start()
    if name == "manual":
        row = await world.reaches(task, TaskState.RESPONDED)
        await world.client.call("confirm", response=row.response)
    await world.reaches(task, TaskState.SETTLED)
    view = await world.client.call("task", address=task)
    assert (view["status"], view["payload"]) == ("FINALIZED", {"result": 6 * len(point)})
    found = await effects(world.network.node.rpc_url, world.network.deployment.nexus, task)
    assert (found.attempts, found.responses) == (1, 1)
    assert await world.reader.integrity_check() == []
    known = {row.address for row in await world.reader.sources()}
    assert set(await project_sources(INSTANCE)) <= known, "a container without a row"


async def _serving(world: World) -> bool:
    """The restarted daemon reads blocks again."""
    if await world.daemon.died():
        raise AssertionError("the daemon died before the task was published")
    async with JsonRpc(world.network.node.rpc_url) as rpc:
        head = int(await rpc.call("eth_blockNumber"), 16)
    cursor = await world.reader.cursor()
    return cursor is not None and head - cursor[0] <= 1
