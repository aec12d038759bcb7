"""Blocks are undone under an order: REST goes back to what is left of it, and on from there."""

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from ogpu_provider.chain.contracts import topic
from ogpu_provider.devnet import accounts
from ogpu_provider.domain.facts import TaskStatus
from tests.integration.gateway.world import World, running
from tests.waiting import until

pytestmark = [pytest.mark.devnet, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with running(tmp_path_factory.mktemp("undone")) as world:
        yield world


async def height(world: World) -> int:
    return int(await world.rpc("eth_blockNumber"), 16)


async def undo_down_to(world: World, block: int) -> None:
    """Everything above `block` never was; what was sent meanwhile is gone with it."""
    await world.rpc("anvil_reorg", await height(world) - block, [])


async def kinds(world: World, task_id: str) -> list[str]:
    return [one["event"] for one in (await world.http.get(f"/api/tasks/{task_id}")).json()["timeline"]]


async def test_a_publication_that_is_undone_is_made_again_and_once(world: World) -> None:
    task_id = (await world.create()).json()["task_id"]
    await world.published(task_id)
    await world.rpc("anvil_reorg", 3, [])

    async def again() -> str | None:
        shown = (await world.http.get(f"/api/tasks/{task_id}")).json()
        address: str = shown["chain"]["task"]
        return address if await world.rpc("eth_getCode", address, "latest") != "0x" else None

    task = await until(again, 120, "the task to be on the new chain")
    await world.answer(task, {"result": 42})
    done = await world.reaches(task_id, "COMPLETED")
    terms = {"fromBlock": "0x0", "toBlock": "latest", "topics": [topic("Nexus.TaskPublished")]}
    found = [log for log in await world.rpc("eth_getLogs", terms) if task.lower()[2:] in json.dumps(log).lower()]
    (sent,) = done["transactions"]
    assert [log["transactionHash"] for log in found] == [sent["hash"]]
    assert (await world.http.get("/api/tasks", params={"status": "COMPLETED"})).json()["tasks"][0]["task_id"] == task_id


async def test_an_attempt_that_is_undone_leaves_the_task_to_others(world: World) -> None:
    task_id = (await world.create()).json()["task_id"]
    task = await world.published(task_id)
    await world.rpc("anvil_mine", "0x4")
    before = await height(world)
    await world.attempt(task)
    taken = await world.reaches(task_id, "EXECUTING")
    assert taken["chain"]["provider"] == accounts.role("provider").address
    await undo_down_to(world, before)
    back = await world.reaches(task_id, "CREATED")
    assert (back["chain"]["provider"], back["chain"]["task"]) == (None, task)
    assert await world.status_on_chain(task) == TaskStatus.NEW
    await world.answer(task, {"result": 42}, "provider2")
    done = await world.reaches(task_id, "COMPLETED")
    assert done["chain"]["provider"] == accounts.role("provider2").address
    steps = ["created", "pinned", "published", "assigned", "started", "attempt_undone"]
    assert await kinds(world, task_id) == [*steps, "assigned", "started", "responded", "completed"]


async def test_a_response_that_is_undone_is_not_shown_any_more(world: World) -> None:
    task_id = (await world.create(model_id="manual")).json()["task_id"]
    task = await world.published(task_id)
    await world.attempt(task)
    await world.rpc("anvil_mine", "0x4")
    before = await height(world)
    await world.answer(task, {"result": 41}, attempt=False)

    async def offered() -> bool:
        readable = (await world.http.get(f"/api/tasks/{task_id}/results")).status_code == 200
        return readable and bool((await world.http.get(f"/api/tasks/{task_id}")).json()["awaits_confirmation"])

    async def withdrawn() -> bool:
        return (await world.http.get(f"/api/tasks/{task_id}/results")).status_code == 409

    await until(offered, 60, "the response to be readable")
    await undo_down_to(world, before)
    await until(withdrawn, 60, "the response to be gone")
    shown = (await world.http.get(f"/api/tasks/{task_id}")).json()
    assert (shown["status"], shown["awaits_confirmation"], shown["chain"]["response"]) == ("EXECUTING", False, None)
    await world.answer(task, {"result": 42}, attempt=False)
    await until(offered, 60, "the second response to be readable")
    assert (await world.http.post(f"/api/tasks/{task_id}/confirm")).status_code == 202
    assert (await world.reaches(task_id, "COMPLETED"))["results"] == {"result": 42}
