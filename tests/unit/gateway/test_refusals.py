"""What a user sees who asks for what is not to be had: a status, a code that stays, and what to do about it."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import ogpu_provider
from ogpu_provider.gateway.bell import Bell
from ogpu_provider.gateway.problems import Problem
from ogpu_provider.gateway.streams import Streams
from ogpu_provider.store.orders import GatewayStore
from tests.unit.gateway.orders import a_key, opened
from tests.unit.gateway.served import Served, served

ROOT = Path(ogpu_provider.__file__).parent
GOOD = {"model_id": "multiply", "input_data": {"a": 6}, "compute_requirements": {"gpu_memory": "8GB"}}
JSON = {"Content-Type": "application/json"}
NOBODY = "task_" + "0" * 24


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("refusals")


@pytest.fixture(scope="module")
def api(folder: Path) -> Iterator[Served]:
    with served(folder) as one:
        yield one


def key(folder: Path, name: str, *, revoked: bool = False, **terms: object) -> str:
    """Made by a command beside the gateway that runs."""

    async def make() -> str:
        store = await GatewayStore.beside(folder / "gateway.db")
        row, text = await a_key(store, name, **terms)
        if revoked:
            await store.revoke_key(row.id, at=1001.0)
        await store.close()
        return text

    return asyncio.run(make())


def ask(api: Served, verb: str, path: str, token: str = "", **terms: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token or api.key}"} | terms.pop("headers", {})
    return httpx.request(verb, api.url + path, headers=headers, trust_env=False, timeout=60, **terms)


@pytest.mark.parametrize(
    ("verb", "path", "terms", "status", "code"),
    [
        ("POST", "/api/tasks", {"content": "{oops"}, 400, "request.malformed"),
        ("POST", "/api/tasks", {"content": "{oops", "headers": JSON}, 400, "request.malformed"),
        ("POST", "/api/tasks", {"headers": JSON}, 422, "request.invalid"),
        ("POST", "/api/tasks", {"data": {"model_id": "multiply"}}, 400, "request.malformed"),
        ("POST", "/api/tasks", {"json": GOOD | {"extra": 1}}, 422, "request.invalid"),
        ("POST", "/api/tasks", {"json": GOOD | {"compute_requirements": None}}, 422, "request.invalid"),
        ("POST", "/api/tasks", {"json": GOOD | {"model_id": "unknown"}}, 404, "model.unknown"),
        ("POST", "/api/tasks", {"json": GOOD, "headers": {"Idempotency-Key": "k" * 201}}, 422, "request.invalid"),
        ("POST", "/api/tasks/batch", {"json": {"tasks": [GOOD] * 101}}, 422, "request.invalid"),
        ("POST", "/api/tasks/batch", {"json": {"tasks": []}}, 422, "request.invalid"),
        ("GET", "/api/tasks?limit=101", {}, 422, "request.invalid"),
        ("GET", "/api/tasks?page=0", {}, 422, "request.invalid"),
        ("GET", "/api/tasks?status=done", {}, 422, "request.invalid"),
        ("GET", "/api/tasks?user_address=me", {}, 422, "request.invalid"),
        ("GET", f"/api/tasks/{NOBODY}", {}, 404, "task.unknown"),
        ("GET", "/api/models/unknown", {}, 404, "model.unknown"),
        ("GET", "/api/tasks/{task}/results?format=binary", {}, 406, "result.not_binary"),
        ("GET", "/api/tasks/{task}/results?format=xml", {}, 422, "request.invalid"),
        ("POST", "/api/tasks/{task}/cancel", {}, 409, "task.not_cancellable"),
        ("POST", "/api/tasks/{task}/confirm", {}, 409, "task.not_confirmable"),
        ("DELETE", "/api/tasks", {}, 405, "method.not_allowed"),
        ("GET", "/api/tasks/", {}, 404, "not_found"),
        ("POST", "/api/auth/challenge", {"json": {"address": "me"}}, 422, "request.invalid"),
        ("POST", "/api/auth/token", {"json": {"message": "m", "signature": "0x00"}}, 401, "auth.challenge"),
    ],
    ids=lambda part: part if isinstance(part, str) and "/" in part else "",
)
def test_what_cannot_be_had_is_refused_with_a_code_that_stays(
    api: Served, verb: str, path: str, terms: dict[str, Any], status: int, code: str
) -> None:
    refused = ask(api, verb, path.format(task=api.task), **terms)
    body = refused.json()
    assert (refused.status_code, body["status"], body["code"]) == (status, status, code), body
    assert refused.headers["content-type"] == "application/problem+json"
    assert (body["type"], bool(body["title"]), bool(body["detail"])) == (f"urn:ogpu:problem:{code}", True, True)
    assert (status == 422) == ("errors" in body)


def test_who_may_not_ask_is_told_why(api: Served, folder: Path) -> None:
    reader = key(folder, "reader", scopes=("tasks:read",))
    for token, verb, status, code in (
        ("ogpu_live_nobody", "GET", 401, "auth.key"),
        ("ogpu_session_nobody", "GET", 401, "auth.key"),
        (key(folder, "gone", revoked=True), "GET", 401, "auth.key"),
        (key(folder, "writer", scopes=("tasks:write",)), "GET", 403, "auth.scope"),
        (reader, "POST", 403, "auth.scope"),
    ):
        refused = ask(api, verb, "/api/tasks", token, **({"json": GOOD} if verb == "POST" else {}))
        assert (refused.status_code, refused.json()["code"]) == (status, code)
        assert ("www-authenticate" in refused.headers) == (status == 401)
    assert ask(api, "GET", "/api/tasks", reader).status_code == 200


def test_a_task_that_is_not_on_chain_yet_is_cancelled_in_a_moment(api: Served) -> None:
    made = ask(api, "POST", "/api/tasks", json=GOOD).json()
    refused = ask(api, "POST", made["links"]["cancel"])
    assert (refused.status_code, refused.json()["code"]) == (409, "task.not_published")
    assert int(refused.headers["retry-after"]) > 0


def test_a_tier_that_is_used_up_says_when_to_come_again(api: Served, folder: Path) -> None:
    """Standard: ten tasks at once; a batch of a hundred gets ten of them and the refusal of the rest, item by item."""
    token = key(folder, "small")
    batch = ask(api, "POST", "/api/tasks/batch", token, json={"tasks": [GOOD] * 100})
    items = batch.json()["results"]
    assert [one["status"] for one in items] == [202] * 10 + [429] * 90
    assert {one["code"] for one in items[10:]} == {"rate.concurrent"}
    assert batch.headers["ratelimit"].startswith('"tasks";r=40;')
    refused = ask(api, "POST", "/api/tasks", token, json=GOOD)
    assert (refused.status_code, refused.json()["code"]) == (429, "rate.concurrent")
    assert int(refused.headers["retry-after"]) > 0


async def test_the_eleventh_stream_of_a_key_is_refused(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    streams = Streams(store, Bell())
    opened_ones = [streams.open("a", None, 0) for _ in range(10)]
    for one in opened_ones:
        await anext(one)
    with pytest.raises(Problem) as refused:
        streams.open("a", None, 0)
    assert (refused.value.status, refused.value.code) == (429, "rate.streams")
    streams.open("b", None, 0)
    await opened_ones[0].aclose()
    streams.open("a", None, 0)
    await store.close()


def test_a_wallet_is_found_however_it_is_written(api: Served, folder: Path) -> None:
    wallet = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
    token = key(folder, "wallet", address=wallet)
    made = ask(api, "POST", "/api/tasks", token, json=GOOD).json()
    assert made["user_address"] == wallet
    for written in (wallet, wallet.lower()):
        found = ask(api, "GET", "/api/tasks", token, params={"user_address": written}).json()["tasks"]
        assert [one["task_id"] for one in found] == [made["task_id"]]


def test_every_code_is_in_the_documentation() -> None:
    said = (ROOT.parent / "docs" / "gateway.md").read_text()
    source = "".join(path.read_text() for path in (ROOT / "gateway").rglob("*.py"))
    codes = set(re.findall(r'Problem\(\s*\d{3},\s*"([a-z_.]+)"', source))
    assert len(codes) > 20
    assert {code for code in codes if f"`{code}`" not in said} == set()
