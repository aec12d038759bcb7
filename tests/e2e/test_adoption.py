"""A restart of the service while a source's container works: the container goes on, and its result is taken once."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import docker
import pytest
from eth_utils.crypto import keccak

from ogpu_provider.devnet.engine import remove_instance
from ogpu_provider.devnet.jsonrpc import JsonRpc
from ogpu_provider.domain.task import TaskState
from ogpu_provider.domain.units import Address
from ogpu_provider.runtime.engine import Engine
from tests.e2e.managed import ManagedWorld
from tests.systemd import FakeSystemd
from tests.waiting import until

pytestmark = [pytest.mark.devnet, pytest.mark.docker, pytest.mark.timeout(300)]
INSTANCE = "adoption"
SUBMITTED = "0x" + keccak(text="ResponseSubmitted(address,address)").hex()


async def test_a_restart_goes_on_with_the_task_that_runs(tmp_path: Path) -> None:
    """The result is posted while no daemon is there: it waits in the socket that the service manager holds."""
    engine = Engine()
    host = await engine.bridge_gateway()
    await engine.aclose()
    settings: dict[str, dict[str, object]] = {
        "runtime": {"instance": INSTANCE},
        "admission": {"min_time_left": 5.0, "cpu_slots": 2},
    }
    async with AsyncExitStack() as stack:
        stack.push_async_callback(remove_instance, INSTANCE)
        world = await ManagedWorld.open(stack, tmp_path, FakeSystemd(tmp_path, 60.0, host), settings)
        api = docker.APIClient(version="auto")
        stack.callback(api.close)
        (before,) = await _containers(api)

        task = await world.publish("sleep", {"seconds": 12})
        await until(lambda: _accepted(world, task), 120, "the container to have the task")
        assert await world.service.stop() == 0
        assert not await _waiting(world.manager), "the result came too early for this test to show anything"
        await until(lambda: _waiting(world.manager), 120, "the container to post its result to the socket")
        heard = len(world.manager.heard)
        await world.service.start()
        await world.manager.hears("READY=1", 60, after=heard)
        row = await world.reaches(task, TaskState.SETTLED)

        assert row.dispatches == 1, "the work was done once"
        assert (await world.client.call("task", address=task))["payload"] == {"slept": 12.0}
        (after,) = await _containers(api)
        assert (after["Id"], after["State"]["StartedAt"]) == (before["Id"], before["State"]["StartedAt"])
        assert after["RestartCount"] == 0
        assert await _responses(world, task) == 1


async def _containers(api: docker.APIClient) -> list[dict[str, Any]]:
    rows = await asyncio.to_thread(api.containers, filters={"label": f"ogpu.instance={INSTANCE}"})
    return [await asyncio.to_thread(api.inspect_container, row["Id"]) for row in rows]


async def _accepted(world: ManagedWorld, task: Address) -> bool:
    row = await world.reader.task(task)
    return bool(row and row.accepted_at)


async def _waiting(manager: FakeSystemd) -> bool:
    """Whether a connection waits to be accepted: the kernel counts them for a listening socket."""
    host, port = manager.listener.getsockname()
    octets = bytes(int(part) for part in host.split("."))
    local = f"{octets[::-1].hex().upper()}:{port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = [row for row in rows if row[1] == local and row[3] == "0A"]
    return any(int(row[4].split(":")[1], 16) for row in listening)


async def _responses(world: ManagedWorld, task: Address) -> int:
    """By the chain's own logs."""
    async with JsonRpc(world.network.node.rpc_url) as rpc:
        where = {"address": world.network.deployment.nexus, "fromBlock": "0x0", "toBlock": "latest"}
        logs = await rpc.call("eth_getLogs", {**where, "topics": [SUBMITTED]})
    return sum(task[2:].lower() in log["data"] for log in logs)
