"""A daemon with too little memory: what the operator sees, and what becomes of a task for a source that is down."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import docker
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
from tests.waiting import open_when_there, until

pytestmark = [pytest.mark.devnet, pytest.mark.docker, pytest.mark.timeout(600)]
INSTANCE = f"pool-{os.getpid()}"
SETTINGS: dict[str, dict[str, object]] = {
    "admission": {"min_time_left": 5.0, "cpu_slots": 2},
    "runtime": {"instance": INSTANCE},
    # no host has all of its memory free: there is pressure all the time
    "sources": {"memory_free": 1.0, "warm_for": 3.0},
}


@asynccontextmanager
async def pressed(folder: Path) -> AsyncIterator[World]:
    async with LocalNetwork(folder) as network:
        made = network.describe()
        await pair_and_fund(network.node.rpc_url, network.deployment)
        key = accounts.role("client").private_key
        async with SdkClient(made["rpc_url"], made["pin_url"] + "/file/create", key) as client:
            sources = {"multiply": Address(await publish_sample(network, client, "multiply"))}
            provider = accounts.role("provider").private_key
            try:
                async with ProviderProcess(folder, made, provider, SETTINGS) as daemon:
                    reader = await open_when_there(daemon)
                    yield World(network, client, daemon, sources, reader)
                    await reader.close()
            finally:
                await remove_instance(INSTANCE)


async def command(world: World, *words: str) -> Any:
    """Its JSON document."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ogpu_provider.cli.main", *words, "--json", "--config", str(world.daemon.config)),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await asyncio.wait_for(process.communicate(), 120)
    return json.loads(out)


async def source_that(world: World, what: str, **expected: object) -> dict[str, Any]:
    """The source as `sources list --json` shows it, once it is as expected."""

    async def look() -> dict[str, Any] | None:
        world.daemon.check()
        for shown in await command(world, "sources", "list"):
            if all(shown[key] == value for key, value in expected.items()):
                return dict(shown)
        return None

    return await until(look, 180, what, pause=1.0)


async def test_a_source_that_made_room_comes_up_for_a_task(tmp_path: Path) -> None:
    api = docker.APIClient(version="auto")
    async with pressed(tmp_path) as world:
        cold = await source_that(world, "the idle source to go down", state="cold")
        assert (cold["code"], cold["registered"]) == ("source.cooled", True)

        async def gone() -> bool:
            return containers(api) == []

        await until(gone, 120, "its containers to be gone")  # the state says so first, so that no task is let in
        found = await command(world, "status")
        assert "source.none_ready" not in {problem["code"] for problem in found["diagnosis"]["problems"]}

        task = await world.publish("multiply", "multiply", {"a": 6, "b": 7})
        await world.reaches(task, TaskState.SETTLED, timeout=180)
        assert (await world.client.call("task", address=task))["payload"] == {"result": 42}
        (shown,) = await command(world, "sources", "list")
        if shown["bytes_sent"] is not None:  # where the firewall can be had
            assert shown["bytes_sent"] > 100, "the result came from the container over its bridge"
    api.close()


def containers(api: docker.APIClient) -> list[str]:
    return [row["Id"] for row in api.containers(all=True, filters={"label": f"ogpu.instance={INSTANCE}"})]
