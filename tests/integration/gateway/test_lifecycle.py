"""What REST shows is what the chain says, step by step."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio

from ogpu_provider.devnet import accounts
from ogpu_provider.devnet.jsonrpc import JsonRpc
from ogpu_provider.devnet.transactions import read
from ogpu_provider.domain.facts import TaskStatus
from ogpu_provider.domain.units import ZERO_ADDRESS
from tests.integration.gateway.world import World, running
from tests.waiting import until

pytestmark = [pytest.mark.devnet, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with running(tmp_path_factory.mktemp("lifecycle")) as world:
        yield world


async def kinds(world: World, task_id: str) -> list[str]:
    return [one["event"] for one in (await world.http.get(f"/api/tasks/{task_id}")).json()["timeline"]]


SAME = {
    TaskStatus.NEW: {"CREATED"},
    TaskStatus.ATTEMPTED: {"ASSIGNED", "EXECUTING"},
    TaskStatus.RESPONDED: {"EXECUTING"},
    TaskStatus.FINALIZED: {"COMPLETED"},
    TaskStatus.CANCELED: {"CANCELLED"},
}
"""A task's status in its contract, and the states that mean it."""


async def agrees(world: World, task_id: str, status: TaskStatus) -> dict[str, Any]:
    """The chain has this status, and REST comes to mean it: with the provider and the response that the chain has."""
    task = await world.published(task_id)
    assert await world.status_on_chain(task) == status
    async with JsonRpc(world.network.node.rpc_url) as rpc:
        number = await read(rpc, task, "Task", "getAttemptCount")
        providers = await read(rpc, task, "Task", "getAttempters", 0, number - 1) if number else [None]
        given = await read(rpc, task, "Task", "responseOf", providers[0]) if number else ZERO_ADDRESS

    async def same() -> dict[str, Any] | None:
        shown: dict[str, Any] = (await world.http.get(f"/api/tasks/{task_id}")).json()
        there = shown["chain"]["provider"], shown["chain"]["response"]
        return shown if shown["status"] in SAME[status] and there == (providers[0], none_of(given)) else None

    found: dict[str, Any] = await until(same, 60, f"{task_id} to be as on chain, {status.name}")
    return found


def none_of(address: str) -> str | None:
    return None if address == ZERO_ADDRESS else address


@pytest.mark.parametrize("model", ["multiply", "manual"], ids=["first response", "manual confirmation"])
async def test_every_step_on_chain_is_the_same_step_of_rest(world: World, model: str) -> None:
    task_id = (await world.create(model_id=model)).json()["task_id"]
    task = await world.published(task_id)
    await agrees(world, task_id, TaskStatus.NEW)
    await world.attempt(task)
    await agrees(world, task_id, TaskStatus.ATTEMPTED)
    await world.answer(task, {"result": 42}, attempt=False)
    if model == "manual":
        assert (await agrees(world, task_id, TaskStatus.RESPONDED))["awaits_confirmation"]
        assert (await world.http.post(f"/api/tasks/{task_id}/confirm")).status_code == 202
        await world.reaches(task_id, "COMPLETED")
    done = await agrees(world, task_id, TaskStatus.FINALIZED)
    assert done["results"] == {"result": 42}
    asked = ["responded", "confirm_requested"] if model == "manual" else ["responded"]
    steps = ["created", "pinned", "published", "assigned", "started", *asked, "completed"]
    assert await kinds(world, task_id) == steps


async def test_a_cancellation_is_the_same_on_chain_and_by_rest(world: World) -> None:
    task_id = (await world.create()).json()["task_id"]
    await agrees(world, task_id, TaskStatus.NEW)
    assert (await world.http.post(f"/api/tasks/{task_id}/cancel")).status_code == 202
    await world.reaches(task_id, "CANCELLED")
    assert (await agrees(world, task_id, TaskStatus.CANCELED))["refunded"]


async def test_what_rest_shows_is_what_the_chain_says(world: World) -> None:
    """The transactions, addresses and times of a finished task, each asked of the node itself."""
    task_id = (await world.create()).json()["task_id"]
    task = await world.published(task_id)
    await world.answer(task, {"result": 42})
    shown = await world.reaches(task_id, "COMPLETED")
    assert shown["chain"]["provider"] == accounts.role("provider").address
    assert await world.status_on_chain(task) == TaskStatus.FINALIZED
    (sent,) = shown["transactions"]
    receipt = await world.rpc("eth_getTransactionReceipt", sent["hash"])
    assert int(receipt["blockNumber"], 16) == sent["block"]
    assert any(task.lower()[2:] in topic for log in receipt["logs"] for topic in [*log["topics"], log["data"]])
    assert (shown["execution_logs"]["origin"], shown["execution_logs"]["lines"]) == ("chain", [])
    logs = (await world.http.get(shown["execution_logs"]["all"])).json()
    assert logs["origin"] == "chain"
    assert datetime.fromtimestamp(logs["lines"][0]["at"], UTC).year >= 2026
