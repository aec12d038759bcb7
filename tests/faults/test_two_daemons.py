"""Two whole daemons where there may be one: over one data directory, with one key, and with one key on two hosts."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

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
from ogpu_provider.environment import others
from tests.auditing import Auditor
from tests.e2e.world import World
from tests.faults.proxy import Proxy
from tests.waiting import open_when_there, sources_ready, until

FIRST, TWIN = (f"{name}-{os.getpid()}" for name in ("twins-a", "twins-b"))
PROVIDER = accounts.role("provider")
pytestmark = [pytest.mark.devnet, pytest.mark.docker, pytest.mark.timeout(600)]


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as opened:
        yield opened
    for instance in (FIRST, TWIN):
        await remove_instance(instance)


def daemon_in(folder: Path, made: dict[str, Any], instance: str) -> ProviderProcess:
    folder.mkdir(exist_ok=True)
    admission = {"min_payment": "0.005", "min_time_left": 5.0, "cpu_slots": 4, "slots_per_source": 4}
    return ProviderProcess(
        folder, made, PROVIDER.private_key, {"admission": admission, "runtime": {"instance": instance}}
    )


async def refused(config: Path) -> str:
    """What a daemon says that does not start."""
    command = (sys.executable, "-m", "ogpu_provider.cli.main", "run", "--config", str(config))
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command, env=others(), stdout=pipe, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode not in (0, None)
    return said.decode()


async def test_of_two_daemons_one_ends_and_says_why(tmp_path: Path, stack: AsyncExitStack) -> None:
    network = await stack.enter_async_context(LocalNetwork(tmp_path / "network", block_time=0.5))
    made = network.describe()
    other_way = await stack.enter_async_context(Proxy(made["rpc_url"]))
    await pair_and_fund(network.node.rpc_url, network.deployment)
    key = accounts.role("client").private_key
    client = await stack.enter_async_context(SdkClient(made["rpc_url"], made["pin_url"] + "/file/create", key))
    source = Address(await publish_sample(network, client, "multiply"))
    first = daemon_in(tmp_path / "first", made, FIRST)
    await stack.enter_async_context(first)
    auditor = Auditor(
        network.node.rpc_url,
        network.deployment.nexus,
        PROVIDER,
        instance=FIRST,
        gateway=made["gateway_url"],
        outputs=[first.log],
    )
    await stack.enter_async_context(auditor)
    reader = await open_when_there(first)
    stack.push_async_callback(reader.close)
    await sources_ready(first, reader, {source})
    world = World(network, client, first, {"multiply": source}, reader)

    assert "store.locked" in await refused(first.config)
    twin = daemon_in(tmp_path / "twin", made, TWIN)
    await stack.enter_async_context(twin)
    await until(twin.died, 120, "the second daemon to end")
    assert twin.exit_code != 0
    assert "key.in_use" in twin.log.read_text()
    first.check()

    task = await world.publish("multiply", "multiply", {"a": 6, "b": 7})
    await world.reaches(task, TaskState.SETTLED, timeout=120)
    verdict = await auditor.verdict({task: {"result": 42}})
    assert verdict.broken == {}

    # as another host, which this one's kernel does not know of
    abroad = daemon_in(tmp_path / "twin", {**made, "rpc_url": other_way.url, "ws_url": other_way.ws_url}, TWIN)
    await stack.enter_async_context(abroad)
    there = await open_when_there(abroad)
    stack.push_async_callback(there.close)
    await sources_ready(abroad, there, {source})
    tasks: list[Address] = []

    async def one_ended() -> bool:
        if first.exit_code is None and abroad.exit_code is None:
            tasks.append(await world.publish("multiply", "multiply", {"a": len(tasks), "b": 2}))
            await asyncio.sleep(1)
        return first.exit_code is not None or abroad.exit_code is not None

    await until(one_ended, 240, "one of two daemons to see that its key is used elsewhere")
    ended = first if first.exit_code is not None else abroad
    assert ended.exit_code != 0
    assert "chain.foreign_nonce" in ended.log.read_text()
    verdict = await auditor.verdict({})
    for done in (verdict.attempts, verdict.responses):
        assert len(done) == len(set(done))
