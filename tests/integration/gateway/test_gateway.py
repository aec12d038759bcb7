"""The Tasks API on a real chain: a real gateway process, and providers that are not the local one."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
import pytest_asyncio
from eth_account import Account as SignedBy
from eth_account.messages import encode_defunct
from eth_utils.address import to_checksum_address
from standardwebhooks import Webhook

from ogpu_provider.devnet import accounts
from ogpu_provider.devnet.abi import artifact
from ogpu_provider.devnet.accounts import Account
from ogpu_provider.devnet.jsonrpc import JsonRpc
from ogpu_provider.devnet.transactions import send
from ogpu_provider.domain.facts import TaskStatus
from tests.integration.gateway.world import Sink, World, running
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


async def test_what_another_key_owns_is_not_there(world: World) -> None:
    task_id = (await world.create()).json()["task_id"]
    other, _ = await world.key("other")
    document = (await world.http.get("/api/openapi.json")).json()
    routes = [(path, verb) for path, item in document["paths"].items() for verb in item if "{task_id}" in path]
    assert len(routes) >= 6
    async with other:
        for path, verb in routes:
            answer = await other.request(verb, path.format(task_id=task_id))
            assert answer.status_code == 404, path
        assert (await other.get("/api/tasks")).json()["total"] == 0
        async with other.stream("GET", "/api/events", headers={"Last-Event-ID": "0"}, timeout=3) as stream:
            with pytest.raises(httpx.ReadTimeout):
                assert [line async for line in stream.aiter_lines() if line.startswith("data:")] == []


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


async def test_webhooks_tell_the_steps_in_order_signed_and_again_until_taken(world: World) -> None:
    async with Sink().serving() as sink:
        sink.answers = [500]
        task_id = (await world.create(callback_url=sink.url)).json()["task_id"]
        await world.answer(await world.published(task_id), {"result": 42})
        await world.reaches(task_id, "COMPLETED")

        async def all_told() -> bool:
            return len({headers["webhook-id"] for headers, _ in sink.told}) == 4 and len(sink.told) == 5

        await until(all_told, 120, "four webhooks, one of them told twice")
    bodies = [Webhook(world.secret).verify(body, headers) for headers, body in sink.told]
    assert {body["data"]["task_id"] for body in bodies} == {task_id}
    kinds = {body["type"] for body in bodies}
    assert kinds == {"task.assigned", "task.started", "task.completed", "task.results_available"}
    first = sink.told[0][0]["webhook-id"]
    assert [headers["webhook-id"] for headers, _ in sink.told].count(first) == 2
    shown = json.loads(await world.command("webhooks", "list", "--json"))
    assert {one["state"] for one in shown["deliveries"] if one["order"] == task_id} == {"delivered"}


async def test_an_endpoint_that_is_gone_is_told_no_more(world: World) -> None:
    async with Sink().serving() as sink:
        sink.answers = [410]
        task_id = (await world.create(callback_url=sink.url)).json()["task_id"]
        await world.answer(await world.published(task_id), {"result": 42})
        await world.reaches(task_id, "COMPLETED")
        await asyncio.sleep(1)
        assert len(sink.told) <= 2  # two may be on their way at once
        endpoints = json.loads(await world.command("webhooks", "list", "--json"))["endpoints"]
        assert [one["disabled"] for one in endpoints if one["url"] == sink.url] == ["disabled by its answer 410 Gone"]
        await world.command("webhooks", "enable", sink.url)
        await world.command("webhooks", "replay", "--url", sink.url)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/x", "http://user:word@127.0.0.1/x", "not a url"])
async def test_a_callback_url_that_is_none_is_refused(world: World, url: str) -> None:
    refused = await world.create(callback_url=url)
    assert (refused.status_code, refused.json()["code"]) == (422, "callback.refused")


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


async def test_events_and_waiting_show_the_end(world: World) -> None:
    task_id = (await world.create()).json()["task_id"]
    task = await world.published(task_id)
    waiting = asyncio.create_task(world.http.get(f"/api/tasks/{task_id}", headers={"Prefer": "wait=30"}, timeout=40))
    kinds: list[str] = []

    async def follow() -> None:
        async with world.http.stream("GET", f"/api/tasks/{task_id}/events", timeout=40) as stream:
            kinds.extend([line[7:] async for line in stream.aiter_lines() if line.startswith("event: ")])

    following = asyncio.create_task(follow())
    await world.answer(task, {"result": 42})
    found = await waiting
    assert (found.json()["status"], found.headers["preference-applied"]) == ("COMPLETED", "wait=30")
    await following
    assert kinds == ["created", "pinned", "published", "assigned", "started", "responded", "completed"]


async def test_a_key_spends_its_budget_of_the_day_and_no_more(world: World) -> None:
    poor, _ = await world.key("poor", "--day-budget", "0.015")
    async with poor:
        first = await poor.post("/api/tasks", json=GOOD)
        assert (first.status_code, first.headers["ratelimit"].split(";")[:2]) == (202, ['"tasks"', "r=49"])
        second = await poor.post("/api/tasks", json=GOOD)
        assert (second.status_code, second.json()["code"]) == (402, "payment.budget")


async def test_a_tier_ends_where_it_says(world: World) -> None:
    key, _ = await world.key("tier", "--tier", "tiny")
    async with key:
        assert [(await key.post("/api/tasks", json=GOOD)).status_code for _ in range(2)] == [202, 202]
        refused = await key.post("/api/tasks", json=GOOD)
        assert (refused.status_code, refused.json()["code"]) == (429, "rate.tasks")
        assert 3000 < int(refused.headers["retry-after"]) <= 3600
        assert (await key.post("/api/tasks/batch", json={"tasks": [GOOD]})).status_code == 207
        refused = await key.post("/api/tasks/batch", json={"tasks": [GOOD]})
        assert (refused.status_code, refused.json()["code"]) == (429, "rate.batches")


async def test_a_wallet_signs_in_and_its_tasks_bear_its_address(world: World) -> None:
    wallet = accounts.role("agent")
    async with httpx.AsyncClient(base_url=world.base, trust_env=False) as http:
        asked = (await http.post("/api/auth/challenge", json={"address": wallet.address.lower()})).json()
        proof = SignedBy.sign_message(encode_defunct(text=asked["message"]), wallet.private_key).signature.to_0x_hex()
        false = SignedBy.sign_message(encode_defunct(text=asked["message"] + " "), wallet.private_key)
        body = {"message": asked["message"], "signature": proof}
        token = (await http.post("/api/auth/token", json=body)).json()
        assert token["user_address"] == wallet.address
        assert (await http.post("/api/auth/token", json=body)).json()["code"] == "auth.challenge"  # once only
        again = (await http.post("/api/auth/challenge", json={"address": wallet.address})).json()["message"]
        wrong = {"message": again, "signature": false.signature.to_0x_hex()}
        assert (await http.post("/api/auth/token", json=wrong)).json()["code"] == "auth.signature"
        http.headers["Authorization"] = f"Bearer {token['token']}"
        made = await http.post("/api/tasks", json=GOOD)
        assert made.json()["user_address"] == wallet.address
        own = (await http.get("/api/tasks", params={"user_address": wallet.address})).json()
        assert own["total"] == 1
        await http.post("/api/tasks", json=GOOD)
        assert (await http.post("/api/tasks", json=GOOD)).json()["code"] == "payment.budget"


async def test_a_wallet_that_is_a_contract_signs_in(world: World) -> None:
    """EIP-1271: its owner's key signs, the contract says whether that counts; nobody else does for it."""
    owner, other = accounts.role("master3"), accounts.role("client")
    async with JsonRpc(world.network.node.rpc_url) as rpc:
        made = await send(rpc, owner, None, artifact("Wallet").creation(owner.address))
    wallet = to_checksum_address(made["contractAddress"])

    async def sign_in(http: httpx.AsyncClient, address: str, sign: Callable[[str], str]) -> httpx.Response:
        asked = (await http.post("/api/auth/challenge", json={"address": address})).json()["message"]
        return await http.post("/api/auth/token", json={"message": asked, "signature": sign(asked)})

    def by(who: Account) -> Callable[[str], str]:
        return lambda text: SignedBy.sign_message(encode_defunct(text=text), who.private_key).signature.to_0x_hex()

    async with httpx.AsyncClient(base_url=world.base, trust_env=False, timeout=30) as http:
        for refused in (
            await sign_in(http, wallet, by(other)),
            await sign_in(http, wallet, lambda _: "0x"),  # the contract reverts
            await sign_in(http, other.address, lambda text: by(owner)(text) + "00"),  # no contract is there
        ):
            assert (refused.status_code, refused.json()["code"]) == (401, "auth.signature")
        token = await sign_in(http, wallet, by(owner))
        assert (token.status_code, token.json()["user_address"]) == (200, wallet)
        http.headers["Authorization"] = f"Bearer {token.json()['token']}"
        assert (await http.post("/api/tasks", json=GOOD)).json()["user_address"] == wallet


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
