"""A whole daemon behind two endpoints that both go away: at its start, and in the middle of its work."""

import asyncio
import json
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
from tests.faults.lies import Fault
from tests.faults.proxy import Proxy
from tests.waiting import open_when_there, sources_ready, until

INSTANCE = f"outage-{os.getpid()}"
pytestmark = [pytest.mark.devnet, pytest.mark.docker, pytest.mark.timeout(600)]


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as opened:
        yield opened
    await remove_instance(INSTANCE)


async def status(daemon: ProviderProcess) -> tuple[int, dict[str, Any]]:
    """What an operator's command says, and its exit code."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ogpu_provider.cli.main", "status", "--json", "--config", str(daemon.config)),
        env=others(),
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate()
    return process.returncode or 0, json.loads(said)


async def is_cut_off(daemon: ProviderProcess, *ends: Proxy) -> None:
    """Commands are served, and say which endpoints do not answer, and why."""

    async def told() -> bool:
        daemon.check()
        code, found = await status(daemon)
        assert found["running"]
        problems = [problem["code"] for problem in found["diagnosis"]["problems"]]
        return code == 1 and "rpc.down" in problems and not any(one["healthy"] for one in found["rpc"]["endpoints"])

    await until(told, 120, "the daemon to say that no endpoint answers")
    _, found = await status(daemon)
    assert [one["name"] for one in found["rpc"]["endpoints"]] == [end.url.removeprefix("http://") for end in ends]
    assert all(one["reason"] for one in found["rpc"]["endpoints"])
    assert found["diagnosis"]["headline"].startswith("not earning: the RPC endpoint does not answer")


async def one_is_enough(daemon: ProviderProcess) -> None:
    async def told() -> bool:
        _, found = await status(daemon)
        problems = {problem["code"] for problem in found["diagnosis"]["problems"]}
        notes = {note["code"] for note in found["diagnosis"]["notes"]}
        return "rpc.down" not in problems and "rpc.degraded" in notes

    await until(told, 120, "the daemon to say that one endpoint of two answers")


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
    auditor = Auditor(
        network.node.rpc_url,
        network.deployment.nexus,
        accounts.role("provider"),
        instance=INSTANCE,
        gateway=made["gateway_url"],
        outputs=[daemon.log],
    )
    await stack.enter_async_context(auditor)
    reader = await open_when_there(daemon)
    stack.push_async_callback(reader.close)
    await is_cut_off(daemon, *ends)
    for end in ends:
        await end.disarm()
    await sources_ready(daemon, reader, {source})
    world = World(network, client, daemon, {"multiply": source}, reader)

    products: dict[str, object] = {await world.publish("multiply", "multiply", {"a": 6, "b": 7}): {"result": 42}}
    for number, fault in enumerate((Fault.REFUSE, Fault.FAIL, Fault.HANG)):
        for end in ends:
            await end.arm(fault)
        missed = await world.publish("multiply", "multiply", {"a": number, "b": 3})
        products[missed] = {"result": 3 * number}
        await is_cut_off(daemon, *ends)
        await ends[1].disarm()  # and the first stays away
        for task in products:
            assert (await world.reaches(Address(task), TaskState.SETTLED)).response
    await one_is_enough(daemon)
    verdict = await auditor.verdict(products)
    assert verdict.broken == {}
    assert set(verdict.responses) == {task.lower() for task in products}
