"""The gateway has no file descriptor left, in the half that answers and in the half that publishes.

What holds: nobody is sent away without an answer, both halves stay, and each task that was taken is published once.
"""

import asyncio
from pathlib import Path

import httpx
import pytest

from tests.faults.descriptors import no_descriptor_left
from tests.faults.proxy import Proxy
from tests.integration.gateway.world import World, gateway_on, prepared

pytestmark = [pytest.mark.devnet, pytest.mark.timeout(600)]
STRANGERS = 40


async def asks(world: World) -> int:
    """On a connection of its own; the status."""
    async with httpx.AsyncClient(trust_env=False, timeout=240) as client:
        return (await client.get(f"{world.base}/api/models", headers=world.http.headers)).status_code


async def creates(client: httpx.AsyncClient, number: int) -> str:
    body = {"model_id": "multiply", "input_data": {"a": number, "b": 7}, "compute_requirements": {"gpu_memory": "8GB"}}
    made = await client.post("/api/tasks", json=body)
    assert made.status_code == 202, made.text
    return str(made.json()["task_id"])


async def test_a_gateway_without_descriptors_keeps_everybody_waiting_and_every_task(tmp_path: Path) -> None:
    async with (
        prepared(tmp_path) as (network, models),
        Proxy(network.node.rpc_url) as way,
        gateway_on(network, tmp_path, models, way=way) as world,
        httpx.AsyncClient(
            base_url=world.base,
            headers=world.http.headers,
            trust_env=False,
            timeout=240,
            limits=httpx.Limits(keepalive_expiry=600),
        ) as user,
    ):
        assert world.process is not None
        made = [await creates(user, 1)]  # its connection is open from now on
        with no_descriptor_left(world.answering()):
            strangers = [asyncio.create_task(asks(world)) for _ in range(STRANGERS)]
            users = asyncio.create_task(_one_by_one(user, 2, 8))
            await asyncio.wait([users], timeout=8)
        made += await users
        assert set(await asyncio.gather(*strangers)) <= {200, 503}
        assert await asks(world) == 200

        with no_descriptor_left(world.process.pid):
            way.cut()  # so that it needs new ones
            made += await _one_by_one(user, 8, 12)
            await asyncio.sleep(4)
        for number, task_id in enumerate(made, 1):
            address = await world.published(task_id)
            await world.answer(address, {"result": number * 7})
            assert (await world.reaches(task_id, "COMPLETED"))["results"] == {"result": number * 7}
        assert len(await world.publications()) == len(made)
        assert world.process.returncode is None


async def _one_by_one(user: httpx.AsyncClient, first: int, behind: int) -> list[str]:
    return [await creates(user, number) for number in range(first, behind)]
