"""The gateway dies at any moment: what was asked for once is published once."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from tests.integration.gateway.world import World, running
from tests.waiting import until

pytestmark = [pytest.mark.devnet, pytest.mark.asyncio(loop_scope="module")]
BODY = {"model_id": "multiply", "input_data": {"a": 6, "b": 7}, "compute_requirements": {}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with running(tmp_path_factory.mktemp("killed")) as world:
        yield world


async def insisting(world: World, once: str) -> str:
    """Post until there is an answer, as a client does whose connection breaks."""
    while True:
        try:
            answer = await world.http.post("/api/tasks", json=BODY, headers={"Idempotency-Key": once}, timeout=10)
        except httpx.TransportError:
            await asyncio.sleep(0.2)
            continue
        if answer.status_code != 503:
            assert answer.status_code == 202, answer.text
            return str(answer.json()["task_id"])
        await asyncio.sleep(0.2)


async def test_a_hundred_posts_with_one_key_and_five_kills_make_one_task(world: World) -> None:
    chance, before = random.Random(11), len(await world.publications())
    posts = [asyncio.create_task(insisting(world, "once")) for _ in range(100)]
    for number in range(5):
        await asyncio.sleep(chance.uniform(0.0, 0.8))
        await world.kill("answers" if number % 2 else "publishes")
        await world.start()
    tasks = set(await asyncio.gather(*posts))
    assert len(tasks) == 1
    shown = (await world.http.get("/api/tasks")).json()
    assert shown["total"] == 1
    await world.published(shown["tasks"][0]["task_id"])
    height = int(await world.rpc("eth_blockNumber"), 16)

    async def blocks_later() -> bool:
        return int(await world.rpc("eth_blockNumber"), 16) >= height + 5

    await until(blocks_later, 120, "five more blocks, in which a second one would be")
    assert len(await world.publications()) == before + 1


async def test_twenty_orders_outlive_kills(world: World) -> None:
    """Twenty orders, a kill after each fourth: all are on the chain in the end, each once."""
    before = len(await world.publications())
    made = []
    for number in range(20):
        made.append(await insisting(world, f"order {number}"))
        if number % 4 == 3:
            await world.kill("answers" if number % 8 == 3 else "publishes")
            await world.start()
    for task_id in made:
        await world.published(task_id)
    assert len(set(made)) == 20
    assert len(await world.publications()) == before + 20


async def test_neither_half_outlives_the_other(world: World) -> None:
    answering = world.answering()
    await world.kill("publishes")
    await until(lambda: gone(answering), 60, "the half that answers to end")
    await world.start()
    await world.kill("answers")  # it looks at the exit code of the other one
    await world.start()


async def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()
