"""Blocks are undone under an order: what REST shows is what the chain still says, and nobody who was told is left alone
with it."""

import json
import sqlite3
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from ogpu_provider.devnet import accounts
from ogpu_provider.domain.facts import TaskStatus
from tests.integration.gateway.world import Sink, World, running
from tests.waiting import until

pytestmark = [pytest.mark.devnet, pytest.mark.asyncio(loop_scope="module")]
DEPTH = 12
"""Blocks on top before the gateway is done with a transaction, and before it reads an end a second time."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with running(tmp_path_factory.mktemp("undone"), confirmations=DEPTH) as world:
        yield world


async def height(world: World) -> int:
    return int(await world.rpc("eth_blockNumber"), 16)


async def undo_down_to(world: World, block: int, *instead: str) -> None:
    """Everything above `block` never was; what was sent meanwhile is gone with it. Blocks come meanwhile, from which
    the node counts. `instead`: signed transactions that are in the first of the blocks that take their place."""
    first = hex(block + 1)
    before = (await world.rpc("eth_getBlockByNumber", first, False))["hash"]
    while (await world.rpc("eth_getBlockByNumber", first, False))["hash"] == before:
        await world.rpc("anvil_reorg", await height(world) - block, [[raw, 0] for raw in instead])


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
    found = [log for log in await world.publications() if task.lower()[2:] in json.dumps(log).lower()]
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


async def settled(world: World) -> None:
    """Every end was read from the chain a second time."""
    await world.rpc("anvil_mine", hex(DEPTH + 1))

    async def all_read() -> bool:
        connection = sqlite3.connect(world.database)
        try:
            return bool(connection.execute("SELECT count(*) FROM ends WHERE NOT settled").fetchone() == (0,))
        finally:
            connection.close()

    await until(all_read, 60, "every end to be read a second time")


@pytest.mark.parametrize("deep", [False, True], ids=["at once", "after it was read a second time"])
async def test_a_completion_that_is_undone_is_another_ones_to_make(world: World, deep: bool) -> None:
    """Its result stays readable, and who was told of it is told that it is open again."""
    async with Sink().serving() as sink:
        task_id = (await world.create(callback_url=sink.url)).json()["task_id"]
        task = await world.published(task_id)
        await world.attempt(task)
        await world.attempt(task, "provider2")
        await world.rpc("anvil_mine", "0x4")
        before = await height(world)
        await world.answer(task, {"result": 41}, attempt=False)
        first = await world.reaches(task_id, "COMPLETED")
        assert (first["results"], first["chain"]["provider"]) == ({"result": 41}, accounts.role("provider").address)
        if deep:
            await settled(world)
        await undo_down_to(world, before)
        back = await world.reaches(task_id, "EXECUTING")
        assert await world.status_on_chain(task) == TaskStatus.ATTEMPTED
        assert (back["chain"]["response"], back["awaits_confirmation"], back["results"]) == (None, False, None)
        kept = await world.http.get(back["links"]["results"])
        assert (kept.json(), kept.headers["ogpu-confirmed"]) == ({"result": 41}, "false")
        await world.answer(task, {"result": 42}, "provider2", attempt=False)
        done = await world.reaches(task_id, "COMPLETED")
        assert (done["results"], done["chain"]["provider"]) == ({"result": 42}, accounts.role("provider2").address)
        again = await world.http.get(f"/api/tasks/{task_id}/results")
        assert (again.json(), again.headers["ogpu-confirmed"]) == ({"result": 42}, "true")
        steps = ["assigned", "started", "responded", "completed", "reopened", "responded", "completed"]
        assert await kinds(world, task_id) == ["created", "pinned", "published", *steps]

        async def told() -> bool:
            return len(sink.told) >= 7

        await until(told, 120, "seven webhooks")
    kinds_told = sorted(json.loads(body)["type"] for _, body in sink.told)
    ends = ["task.completed"] * 2 + ["task.results_available"] * 2
    assert kinds_told == sorted(["task.assigned", "task.started", "task.reopened", *ends])


async def test_a_confirmation_that_is_undone_is_made_again(world: World) -> None:
    task_id = (await world.create(model_id="manual")).json()["task_id"]
    task = await world.published(task_id)
    await world.answer(task, {"result": 42})

    async def offered() -> bool:
        return bool((await world.http.get(f"/api/tasks/{task_id}")).json()["awaits_confirmation"])

    await until(offered, 60, "the response to be offered")
    await world.rpc("anvil_mine", "0x4")
    before = await height(world)
    assert (await world.http.post(f"/api/tasks/{task_id}/confirm")).status_code == 202
    paid = await world.reaches(task_id, "COMPLETED")
    await undo_down_to(world, before)
    await until(lambda: finalized(world, task), 300, "the confirmation to be made again")
    done = await world.reaches(task_id, "COMPLETED")
    assert done["chain"] == paid["chain"]
    assert done["results"] == {"result": 42}


async def finalized(world: World, task: str) -> bool:
    return await world.status_on_chain(task) == TaskStatus.FINALIZED


async def test_a_cancellation_that_comes_too_late_on_the_other_chain_is_none(world: World) -> None:
    """The blocks with it are undone, and in those that take their place somebody has attempted the task before."""
    task_id = (await world.create()).json()["task_id"]
    task = await world.published(task_id)
    await world.rpc("anvil_mine", "0x4")
    before = await height(world)
    attempt = await world.rpc("eth_getRawTransactionByHash", await world.attempt(task))
    await undo_down_to(world, before)
    await world.reaches(task_id, "CREATED")
    assert (await world.http.post(f"/api/tasks/{task_id}/cancel")).status_code == 202
    assert (await world.reaches(task_id, "CANCELLED"))["refunded"]
    await undo_down_to(world, before, attempt)
    assert await world.status_on_chain(task) == TaskStatus.ATTEMPTED
    back = await world.reaches(task_id, "EXECUTING")
    assert (back["refunded"], back["chain"]["provider"]) == (False, accounts.role("provider").address)
    await world.answer(task, {"result": 42}, attempt=False)
    done = await world.reaches(task_id, "COMPLETED")
    assert done["results"] == {"result": 42}
    assert "reopened" in await kinds(world, task_id)
    for one in done["transactions"]:
        assert one["effect"] in ("publishTask", "cancelTask")


async def test_a_restart_finds_what_was_undone_while_nobody_looked(world: World) -> None:
    task_id = (await world.create()).json()["task_id"]
    task = await world.published(task_id)
    await world.attempt(task)
    await world.rpc("anvil_mine", "0x4")
    before = await height(world)
    await world.answer(task, {"result": 41}, attempt=False)
    await world.reaches(task_id, "COMPLETED")
    await settled(world)
    await world.kill()
    await undo_down_to(world, before)
    await world.start()
    await world.reaches(task_id, "EXECUTING")
    await world.answer(task, {"result": 42}, attempt=False)
    assert (await world.reaches(task_id, "COMPLETED"))["results"] == {"result": 42}
