"""What each user of the gateway has for itself: a key or a wallet, a budget, a tier, an endpoint that is told."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable

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
from tests.integration.gateway.world import Sink, World, running
from tests.waiting import until

pytestmark = [pytest.mark.devnet, pytest.mark.asyncio(loop_scope="module")]
GOOD = {"model_id": "multiply", "input_data": {"a": 6, "b": 7}, "compute_requirements": {}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with running(tmp_path_factory.mktemp("members")) as world:
        yield world


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
        async with other.stream("GET", "/api/events", headers={"Last-Event-ID": "0"}, timeout=60) as stream:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(3):
                    assert [line async for line in stream.aiter_lines() if line.startswith("data:")] == []


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
