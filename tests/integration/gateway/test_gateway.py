"""The Tasks API on a real chain: a real gateway process, and a provider that is not the local one."""

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from ogpu_provider.devnet import accounts
from ogpu_provider.devnet.deployment import pair_and_fund
from ogpu_provider.devnet.jsonrpc import JsonRpc
from ogpu_provider.devnet.network import LocalNetwork
from ogpu_provider.devnet.publishing import publish_sample
from ogpu_provider.devnet.sdk import SdkClient
from ogpu_provider.devnet.transactions import read, transact
from ogpu_provider.domain.units import COIN
from ogpu_provider.keys import keystore
from tests.waiting import until

pytestmark = [pytest.mark.devnet, pytest.mark.asyncio(loop_scope="module")]
PRICE = COIN // 100


class World:
    """`http` speaks with a key's authority."""

    def __init__(self, network: LocalNetwork, config: Path, http: httpx.AsyncClient, source: str) -> None:
        self.network = network
        self.config = config
        self.http = http
        self.source = source

    async def create(self, **changes: Any) -> httpx.Response:
        body = {"model_id": "multiply", "input_data": {"a": 6, "b": 7}, "compute_requirements": {"gpu_memory": "8GB"}}
        return await self.http.post("/api/tasks", json=body | changes)

    async def published(self, task_id: str) -> str:
        async def look() -> str | None:
            found: str | None = (await self.http.get(f"/api/tasks/{task_id}")).json()["chain"]["task"]
            return found

        address: str = await until(look, 20, "the task to be on chain")
        return address

    async def reaches(self, task_id: str, status: str) -> dict[str, Any]:
        async def look() -> dict[str, Any] | None:
            shown: dict[str, Any] = (await self.http.get(f"/api/tasks/{task_id}")).json()
            return shown if shown["status"] == status else None

        found: dict[str, Any] = await until(look, 30, f"{task_id} to be {status}")
        return found

    async def answer(self, task: str, payload: Any) -> None:
        """What a provider somewhere on the network does."""
        provider = accounts.role("provider")
        made = self.network.deployment
        async with JsonRpc(self.network.node.rpc_url) as rpc:
            await transact(rpc, provider, made.nexus, "Nexus", "attempt", task, provider.address, PRICE)
            async with httpx.AsyncClient(trust_env=False) as client:
                sent = await client.post(
                    self.network.pinning.url + "/file/create",
                    files={"file": ("response.json", json.dumps(payload), "application/json")},
                )
            params = (task, provider.address, sent.json()["link"], PRICE)
            await transact(rpc, provider, made.nexus, "Nexus", "submitResponse", params)

    async def vault(self) -> int:
        async with JsonRpc(self.network.node.rpc_url) as rpc:
            client = accounts.role("client2").address
            return int(await read(rpc, self.network.deployment.vault, "Vault", "balanceOf", client))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder: Path = tmp_path_factory.mktemp("gateway")
    async with LocalNetwork(folder, registry=False) as network:
        made, provider = network.describe(), accounts.role("provider")
        await pair_and_fund(network.node.rpc_url, network.deployment)
        async with JsonRpc(network.node.rpc_url) as rpc:
            payer = accounts.role("client2")
            await transact(rpc, payer, made["contracts"]["vault"], "Vault", "deposit", payer.address, value=COIN)
            key = accounts.role("client").private_key
            async with SdkClient(made["rpc_url"], made["pin_url"] + "/file/create", key) as client:
                source = await publish_sample(network, client, "multiply")
            await transact(rpc, provider, made["contracts"]["nexus"], "Nexus", "register", source, provider.address, 1)
        config, port = await _configure(folder, made)
        await _command(config, "models", "add", "multiply", source, "multiply", "0.01")
        await _command(config, "models", "add", "dear", source, "multiply", "2")
        token = json.loads(await _command(config, "keys", "create", "test", "--tier", "premium"))["key"]
        process = await asyncio.create_subprocess_exec(*_words(config, "run"))
        http = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {token}"}, trust_env=False
        )
        try:
            await until(lambda: _answers(http), 30, "the gateway to answer")
            yield World(network, config, http, source)
        finally:
            await http.aclose()
            process.terminate()
            assert await process.wait() == 0


async def _configure(folder: Path, made: dict[str, Any]) -> tuple[Path, int]:
    password = folder / "password"
    password.touch(mode=0o600)
    password.write_text("devnet")
    store = folder / "keys" / "gateway.json"
    await keystore.import_key(store, accounts.role("client2").private_key, "devnet", rounds=4096)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = folder / "config.toml"
    config.write_text(
        f'data_dir = "{folder / "data"}"\n[network]\nname = "devnet"\nrpc_url = "{made["rpc_url"]}"\n'
        f'ws_url = "{made["ws_url"]}"\npublish_url = "{made["pin_url"]}/file/create"\n'
        f'gateway_url = "{made["gateway_url"]}"\nconfirmations = 1\nallow_private_urls = true\n'
        f'[gateway]\nport = {port}\nkeystore = "{store}"\npassword_file = "{password}"\nmax_payment = "5"\n'
    )
    os.chmod(config, 0o600)
    return config, port


def _words(config: Path, *words: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "ogpu_provider.cli.main", "gateway", *words, "--config", str(config))


async def _command(config: Path, *words: str) -> str:
    process = await asyncio.create_subprocess_exec(*_words(config, *words), stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode()


async def _answers(http: httpx.AsyncClient) -> bool:
    try:
        return (await http.get("/api/models")).status_code == 200
    except httpx.TransportError:
        return False


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
    refused = await world.create(model_id="dear")
    assert (refused.status_code, refused.json()["code"]) == (402, "payment.balance")
    assert refused.headers["content-type"] == "application/problem+json"
    assert all(one["model_id"] != "dear" for one in (await world.http.get("/api/tasks")).json()["tasks"])


async def test_the_same_idempotency_key_at_once_makes_one_task(world: World) -> None:
    body = {"model_id": "multiply", "input_data": {}, "compute_requirements": {}}
    header = {"Idempotency-Key": "once"}
    posts = [world.http.post("/api/tasks", json=body, headers=header) for _ in range(10)]
    answers = await asyncio.gather(*posts)
    assert {one.status_code for one in answers} == {202}
    assert len({one.json()["task_id"] for one in answers}) == 1
    other = await world.http.post("/api/tasks", json=body | {"input_data": {"a": 1}}, headers=header)
    assert other.json()["code"] == "idempotency.reused"


async def test_bad_items_of_a_batch_do_not_sink_the_rest(world: World) -> None:
    good = {"model_id": "multiply", "input_data": {}, "compute_requirements": {}}
    items = [good, {"model_id": "unknown", "input_data": {}, "compute_requirements": {}}, 7, good]
    found = (await world.http.post("/api/tasks/batch", json={"tasks": items})).json()["results"]
    assert [one["status"] for one in found] == [202, 404, 422, 202]


async def test_what_another_key_owns_is_not_there(world: World) -> None:
    task_id = (await world.create()).json()["task_id"]
    token = json.loads(await _command(world.config, "keys", "create", "other"))["key"]
    header = {"Authorization": f"Bearer {token}"}
    for method, path in (("GET", ""), ("GET", "/results"), ("GET", "/logs"), ("POST", "/cancel"), ("POST", "/confirm")):
        answer = await world.http.request(method, f"/api/tasks/{task_id}{path}", headers=header)
        assert answer.status_code == 404
    assert (await world.http.get("/api/tasks", headers=header)).json()["total"] == 0
