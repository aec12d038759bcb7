"""The Tasks API on a real chain: a real gateway process, and providers that are not the local one."""

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
import pytest_asyncio

from ogpu_provider.devnet import accounts
from ogpu_provider.domain.facts import TaskStatus
from tests.integration.gateway.world import World, running
from tests.waiting import until

pytestmark = [pytest.mark.devnet, pytest.mark.asyncio(loop_scope="module")]
GOOD = {"model_id": "multiply", "input_data": {"a": 6, "b": 7}, "compute_requirements": {}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with running(tmp_path_factory.mktemp("gateway")) as world:
        yield world


async def test_a_task_is_published_done_by_another_provider_and_its_result_is_served(world: World) -> None:
    made = await world.create()
    assert made.status_code == 202, made.text
    task_id = made.json()["task_id"]
    await world.answer(await world.published(task_id), [{"n": 1, "text": "a"}, {"n": 2, "text": "b"}])
    done = await world.reaches(task_id, "COMPLETED")
    assert done["chain"]["provider"] == accounts.role("provider").address
    table = await world.http.get(f"/api/tasks/{task_id}/results", params={"format": "csv"})
    assert table.text.split() == ["n,text", "1,a", "2,b"]
    assert (await world.http.get(f"/api/tasks/{task_id}/results")).json()[1] == {"n": 2, "text": "b"}


async def test_a_task_nobody_attempted_is_cancelled_and_refunded(world: World) -> None:
    before = await world.vault()
    task_id = (await world.create()).json()["task_id"]
    await world.published(task_id)
    assert (await world.http.post(f"/api/tasks/{task_id}/cancel")).status_code == 202
    assert (await world.reaches(task_id, "CANCELLED"))["refunded"]
    assert await world.vault() == before


async def test_what_the_vault_does_not_cover_is_refused_and_not_published(world: World) -> None:
    before = await world.publications()
    refused = await world.create(model_id="dear")
    assert (refused.status_code, refused.json()["code"]) == (402, "payment.balance")
    assert refused.headers["content-type"] == "application/problem+json"
    assert all(one["model_id"] != "dear" for one in (await world.http.get("/api/tasks")).json()["tasks"])
    later = (await world.create()).json()["task_id"]
    await world.published(later)
    assert len(await world.publications()) == len(before) + 1


async def test_the_same_idempotency_key_at_once_makes_one_task(world: World) -> None:
    body = {"model_id": "multiply", "input_data": {}, "compute_requirements": {}}
    header = {"Idempotency-Key": "once"}
    posts = [world.http.post("/api/tasks", json=body, headers=header) for _ in range(10)]
    answers = await asyncio.gather(*posts)
    assert {one.status_code for one in answers} == {202}
    assert len({one.json()["task_id"] for one in answers}) == 1
    other = await world.http.post("/api/tasks", json=body | {"input_data": {"a": 1}}, headers=header)
    assert other.json()["code"] == "idempotency.reused"


async def test_three_bad_items_of_a_hundred_do_not_sink_the_rest(world: World) -> None:
    many, _ = await world.key("many", "--tier", "batch")
    items: list[Any] = [GOOD] * 100
    items[7], items[50], items[99] = GOOD | {"model_id": "unknown"}, 7, GOOD | {"input_data": []}
    async with many:
        found = (await many.post("/api/tasks/batch", json={"tasks": items})).json()["results"]
        bad = {place: one["status"] for place, one in enumerate(found) if one["status"] != 202}
        assert bad == {7: 404, 50: 422, 99: 422}
        assert len({one["task"]["task_id"] for one in found if one["status"] == 202}) == 97

        async def on_chain() -> bool:
            shown = (await many.get("/api/tasks", params={"limit": 100})).json()
            assert shown["total"] == 97
            return all(one["chain"]["task"] for one in shown["tasks"])

        await until(on_chain, 120, "97 tasks to be published")


async def test_a_result_is_served_in_the_format_that_it_has(world: World) -> None:
    picture = b"\x89PNG\r\n\x1a\n" + bytes(40)
    task_id = (await world.create()).json()["task_id"]
    payload = {"image": base64.b64encode(picture).decode(), "about": {"width": 1}}
    await world.answer(await world.published(task_id), payload)
    await world.reaches(task_id, "COMPLETED")
    binary = await world.http.get(f"/api/tasks/{task_id}/results", params={"format": "binary"})
    assert (binary.content, binary.headers["content-type"]) == (picture, "image/png")
    table = await world.http.get(f"/api/tasks/{task_id}/results", params={"format": "csv"})
    assert (table.status_code, table.json()["code"]) == (406, "result.not_a_table")


async def test_a_task_that_was_attempted_is_not_cancelled(world: World) -> None:
    task_id = (await world.create()).json()["task_id"]
    task = await world.published(task_id)
    await world.attempt(task)
    await world.reaches(task_id, "EXECUTING")
    refused = await world.http.post(f"/api/tasks/{task_id}/cancel")
    assert (refused.status_code, refused.json()["code"]) == (409, "task.not_cancellable")
    assert await world.status_on_chain(task) == TaskStatus.ATTEMPTED
    await world.answer(task, {"result": 42}, attempt=False)
    await world.reaches(task_id, "COMPLETED")


async def test_the_response_of_a_manual_task_is_read_then_confirmed(world: World) -> None:
    task_id = (await world.create(model_id="manual")).json()["task_id"]
    task = await world.published(task_id)
    for who, product in (("provider", 42), ("provider2", 43)):
        await world.answer(task, {"result": product}, who)

    async def offered() -> bool:
        return (await world.http.get(f"/api/tasks/{task_id}/results")).status_code == 200

    await until(offered, 120, "the response to be readable")
    shown = (await world.http.get(f"/api/tasks/{task_id}")).json()
    assert (shown["status"], shown["awaits_confirmation"]) == ("EXECUTING", True)
    assert await world.status_on_chain(task) == TaskStatus.RESPONDED
    early = await world.http.get(f"/api/tasks/{task_id}/results")
    assert (early.json(), early.headers["ogpu-confirmed"]) == ({"result": 42}, "false")
    assert (await world.http.post(f"/api/tasks/{task_id}/confirm")).status_code == 202
    done = await world.reaches(task_id, "COMPLETED")
    assert await world.status_on_chain(task) == TaskStatus.FINALIZED
    assert done["results"] == {"result": 42}
    assert [one["effect"] for one in done["transactions"]] == ["publishTask", "confirmResponse"]
    again = await world.http.post(f"/api/tasks/{task_id}/confirm")
    assert (again.status_code, again.json()["code"]) == (409, "task.not_confirmable")


async def test_a_response_that_cannot_be_read_is_passed_over_and_not_paid(world: World) -> None:
    task_id = (await world.create(model_id="hasty")).json()["task_id"]
    task = await world.published(task_id)
    await world.answer(task, b"no JSON", "provider")
    await world.answer(task, {"result": 42}, "provider2")
    done = await world.reaches(task_id, "COMPLETED")
    assert (done["results"], done["chain"]["provider"]) == ({"result": 42}, accounts.role("provider2").address)


async def test_a_request_asked_again_is_answered_as_it_was(world: World) -> None:
    source = (await world.http.get("/api/models/multiply")).json()["source"]
    await world.command("models", "add", "short-lived", source, "multiply", "0.01")
    body, header = GOOD | {"model_id": "short-lived"}, {"Idempotency-Key": "again"}
    first = await world.http.post("/api/tasks", json=body, headers=header)
    await world.command("models", "remove", "short-lived")
    again = await world.http.post("/api/tasks", json=body, headers=header)
    assert (again.status_code, again.json()["task_id"]) == (202, first.json()["task_id"])


async def test_a_model_may_confirm_by_itself(world: World) -> None:
    task_id = (await world.create(model_id="hasty")).json()["task_id"]
    await world.answer(await world.published(task_id), {"result": 42})
    assert (await world.reaches(task_id, "COMPLETED"))["results"] == {"result": 42}


async def over(ask: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
    """The answer with the end of the task: on a slow machine, that of the second request or the third."""
    while (found := await ask()).json()["status"] != "COMPLETED":
        assert found.headers["preference-applied"]
    return found


async def test_events_and_waiting_show_the_end(world: World) -> None:
    task_id = (await world.create()).json()["task_id"]
    task = await world.published(task_id)
    header = {"Prefer": "wait=30"}
    waiting = asyncio.create_task(
        over(lambda: world.http.get(f"/api/tasks/{task_id}", headers=header, timeout=90)),
    )
    kinds: list[str] = []

    async def follow() -> None:
        async with world.http.stream("GET", f"/api/tasks/{task_id}/events", timeout=90) as stream:
            kinds.extend([line[7:] async for line in stream.aiter_lines() if line.startswith("event: ")])

    following = asyncio.create_task(follow())
    await world.answer(task, {"result": 42})
    found = await waiting
    assert (found.json()["status"], found.headers["preference-applied"]) == ("COMPLETED", "wait=30")
    await following
    assert kinds == ["created", "pinned", "published", "assigned", "started", "responded", "completed"]


async def test_who_prefers_to_wait_gets_the_result_with_the_answer(world: World) -> None:
    patient, _ = await world.key("patient")
    async with patient:
        headers = {"Prefer": "wait=60", "Idempotency-Key": "patient"}
        asking = asyncio.create_task(over(lambda: patient.post("/api/tasks", json=GOOD, headers=headers, timeout=90)))

        async def published() -> dict[str, Any] | None:
            tasks = (await patient.get("/api/tasks")).json()["tasks"]
            return tasks[0] if tasks and tasks[0]["chain"]["task"] else None

        made = await until(published, 60, "the task to be on chain")
        task_id = made["task_id"]
        await world.answer(made["chain"]["task"], {"result": 42})
        found = await asking
    assert (found.status_code, found.headers["preference-applied"]) == (202, "wait=60")
    assert (found.json()["task_id"], found.json()["status"]) == (task_id, "COMPLETED")
    assert found.json()["results"] == {"result": 42}
    assert found.json()["links"]["results"] == f"/api/tasks/{task_id}/results"


async def test_an_operator_watches_both_halves(world: World) -> None:
    async def measured() -> dict[str, float] | None:
        text = (await world.http.get(world.metrics)).text
        lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
        found = {name: float(value) for name, _, value in lines}
        whole = found.get("ogpu_gateway_head_block", 0) > 0 and found.get("ogpu_gateway_vault_balance_coin", 0) > 0
        return found if whole and 'ogpu_gateway_orders{state="COMPLETED"}' in found else None

    found = await until(measured, 60, "what the half that publishes measures")
    assert found['ogpu_gateway_requests_total{method="POST",route="/api/tasks",status="202"}'] > 0


async def test_a_task_that_nobody_answers_fails_and_is_refunded(world: World) -> None:
    """Last: it moves the chain's time on."""
    answer = await world.create(compute_requirements={"max_execution_time": 60})
    task_id = answer.json()["task_id"]
    task = await world.published(task_id)
    before = await world.vault()
    await world.later(600)
    failed = await world.reaches(task_id, "FAILED")
    assert (failed["error"]["code"], failed["refunded"]) == ("task.expired", False)
    await world.attempt(task)  # the contracts notice the expiry at the next attempt
    assert await world.status_on_chain(task) == TaskStatus.EXPIRED

    async def refunded() -> bool:
        return bool((await world.http.get(f"/api/tasks/{task_id}")).json()["refunded"])

    await until(refunded, 120, "the refund to be seen")
    assert await world.vault() > before
