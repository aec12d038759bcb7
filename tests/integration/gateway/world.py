"""A gateway as its own process on a local network, providers played by their keys, and an endpoint for webhooks."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ogpu_provider.chain.contracts import topic
from ogpu_provider.devnet import accounts
from ogpu_provider.devnet.deployment import pair_and_fund
from ogpu_provider.devnet.jsonrpc import JsonRpc
from ogpu_provider.devnet.network import LocalNetwork
from ogpu_provider.devnet.publishing import publish_sample
from ogpu_provider.devnet.sdk import SdkClient
from ogpu_provider.devnet.transactions import read, transact
from ogpu_provider.domain.source import DeliveryMethod
from ogpu_provider.domain.units import COIN
from ogpu_provider.keys import keystore
from tests.faults.proxy import Proxy
from tests.waiting import until

PRICE = COIN // 100
PROVIDERS = {"provider": "master", "provider2": "master2"}


class Sink:
    """An endpoint: what it was told, and how it answers next (200 where nothing is said)."""

    def __init__(self) -> None:
        self.told: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[int] = []
        self.url = ""

    async def take(self, request: Request) -> Response:
        status = self.answers.pop(0) if self.answers else 200
        self.told.append((dict(request.headers), await request.body()))
        return Response(status_code=status)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Sink"]:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/hook"
        app = Starlette(routes=[Route("/hook", self.take, methods=["POST"])])
        server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None, lifespan="off"))
        running = asyncio.create_task(server._serve())
        try:
            yield self
        finally:
            server.should_exit = True
            await running


class World:
    """`http` speaks with a key's authority. The gateway process can be killed and started again."""

    def __init__(self, network: LocalNetwork, config: Path, port: int, metrics: int) -> None:
        self.network = network
        self.config = config
        self.base = f"http://127.0.0.1:{port}"
        self.database = config.parent / "data" / "gateway.db"
        self.metrics = f"http://127.0.0.1:{metrics}/metrics"
        self.http = httpx.AsyncClient(trust_env=False)
        self.secret = ""
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(*_words(self.config, "run"))
        await until(lambda: answers(self.http), 120, "the gateway to answer")

    async def kill(self, half: Literal["publishes", "answers"] = "publishes") -> None:
        """Kill the process that has the key, which takes the other one along, or the one that answers."""
        assert self.process is not None
        if half == "publishes":
            self.process.kill()
            await self.process.wait()
        else:
            os.kill(self.answering(), signal.SIGKILL)
            assert await self.process.wait() == 3

    def answering(self) -> int:
        """The process that answers."""
        assert self.process is not None
        (child,) = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(child)

    async def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        assert await self.process.wait() == 0

    async def key(self, name: str, *words: str) -> tuple[httpx.AsyncClient, dict[str, str]]:
        """A client with a new key's authority, and what the command printed."""
        made = json.loads(await self.command("keys", "create", name, *words))
        header = {"Authorization": f"Bearer {made['key']}"}
        return httpx.AsyncClient(base_url=self.base, headers=header, trust_env=False, timeout=30), made

    async def command(self, *words: str) -> str:
        process = await asyncio.create_subprocess_exec(*_words(self.config, *words), stdout=asyncio.subprocess.PIPE)
        out, _ = await process.communicate()
        assert process.returncode == 0, words
        return out.decode()

    async def create(self, **changes: Any) -> httpx.Response:
        body = {"model_id": "multiply", "input_data": {"a": 6, "b": 7}, "compute_requirements": {"gpu_memory": "8GB"}}
        return await self.http.post("/api/tasks", json=body | changes)

    async def published(self, task_id: str) -> str:
        async def look() -> str | None:
            found: str | None = (await self.http.get(f"/api/tasks/{task_id}")).json()["chain"]["task"]
            return found

        address: str = await until(look, 120, "the task to be on chain")
        return address

    async def reaches(self, task_id: str, status: str) -> dict[str, Any]:
        async def look() -> dict[str, Any] | None:
            shown: dict[str, Any] = (await self.http.get(f"/api/tasks/{task_id}")).json()
            return shown if shown["status"] == status else None

        found: dict[str, Any] = await until(look, 120, f"{task_id} to be {status}")
        return found

    async def attempt(self, task: str, who: str = "provider") -> str:
        """Its transaction's hash."""
        provider = accounts.role(who)
        async with JsonRpc(self.network.node.rpc_url) as rpc:
            nexus = self.network.deployment.nexus
            sent = await transact(rpc, provider, nexus, "Nexus", "attempt", task, provider.address, PRICE)
        return str(sent["transactionHash"])

    async def answer(self, task: str, payload: Any, who: str = "provider", *, attempt: bool = True) -> None:
        """What a provider somewhere on the network does; bytes are a result as it is."""
        provider = accounts.role(who)
        made = self.network.deployment
        if attempt:
            await self.attempt(task, who)
        async with JsonRpc(self.network.node.rpc_url) as rpc:
            async with httpx.AsyncClient(trust_env=False) as client:
                body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
                sent = await client.post(
                    self.network.pinning.url + "/file/create",
                    files={"file": ("response.json", body, "application/json")},
                )
            params = (task, provider.address, sent.json()["link"], PRICE)
            await transact(rpc, provider, made.nexus, "Nexus", "submitResponse", params)

    async def status_on_chain(self, task: str) -> int:
        async with JsonRpc(self.network.node.rpc_url) as rpc:
            return int(await read(rpc, task, "Task", "getStatus"))

    async def rpc(self, method: str, *params: Any) -> Any:
        async with JsonRpc(self.network.node.rpc_url) as rpc:
            return await rpc.call(method, *params)

    async def publications(self) -> list[Any]:
        """Every publication on the chain, whoever made it."""
        terms = {"fromBlock": "0x0", "toBlock": "latest", "topics": [topic("Nexus.TaskPublished")]}
        found: list[Any] = await self.rpc("eth_getLogs", terms)
        return found

    async def later(self, seconds: int) -> None:
        """Move the chain's time on."""
        await self.rpc("evm_increaseTime", hex(seconds))
        await self.rpc("evm_mine")

    async def vault(self) -> int:
        async with JsonRpc(self.network.node.rpc_url) as rpc:
            client = accounts.role("client2").address
            return int(await read(rpc, self.network.deployment.vault, "Vault", "balanceOf", client))


@asynccontextmanager
async def running(folder: Path, *, coins: int = 10, confirmations: int = 1) -> AsyncIterator[World]:
    """Models: multiply, dear (costs more than the Vault holds), manual (confirmed by hand), hasty (by itself)."""
    async with (
        prepared(folder, coins=coins) as (network, models),
        gateway_on(network, folder, models, confirmations=confirmations) as world,
    ):
        await world.command("models", "add", "hasty", models["manual"][0], "multiply", "0.01", "--auto-confirm")
        yield world


@asynccontextmanager
async def prepared(folder: Path, *, coins: int = 10) -> AsyncIterator[tuple[LocalNetwork, dict[str, tuple[str, str]]]]:
    """A network on which the gateway's client can pay, and models of it."""
    async with LocalNetwork(folder, registry=False) as network:
        made = network.describe()
        pairs = [(accounts.role(master), accounts.role(who)) for who, master in PROVIDERS.items()]
        await pair_and_fund(network.node.rpc_url, network.deployment, pairs=pairs)
        async with JsonRpc(network.node.rpc_url) as rpc:
            payer = accounts.role("client2")
            vault, nexus = made["contracts"]["vault"], made["contracts"]["nexus"]
            await transact(rpc, payer, vault, "Vault", "deposit", payer.address, value=coins * COIN)
            key = accounts.role("client").private_key
            async with SdkClient(made["rpc_url"], made["pin_url"] + "/file/create", key) as client:
                source = await publish_sample(network, client, "multiply")
                manual = await publish_sample(
                    network, client, "multiply", delivery=DeliveryMethod.MANUAL_CONFIRMATION, title="by hand"
                )
            for provider in map(accounts.role, PROVIDERS):
                for one in (source, manual):
                    await transact(rpc, provider, nexus, "Nexus", "register", one, provider.address, 1)
        models = {"multiply": (source, "0.01"), "dear": (source, str(coins + 1)), "manual": (manual, "0.01")}
        yield network, models


@asynccontextmanager
async def gateway_on(
    network: LocalNetwork,
    folder: Path,
    models: Mapping[str, tuple[str, str]],
    *more: str,
    confirmations: int = 1,
    way: Proxy | None = None,
) -> AsyncIterator[World]:
    """A gateway on a network that runs; `models` are source and price by id, `more` lines of its settings, `way` what
    stands between it and the node."""
    port, metrics = free_port(), free_port()
    ours = f"port = {port}", f"metrics_port = {metrics}", *more
    made = network.describe() | ({"rpc_url": way.url, "ws_url": way.ws_url} if way else {})
    config = await _configure(folder, made, confirmations, *ours)
    world = World(network, config, port, metrics)
    for model, (source, price) in models.items():
        await world.command("models", "add", model, source, "multiply", price)
    world.http, shown = await world.key("test", "--tier", "premium")
    world.secret = shown["webhook_secret"]
    try:
        await world.start()
        yield world
        await world.stop()
    finally:
        await world.http.aclose()
        if world.process is not None and world.process.returncode is None:
            world.process.kill()


async def _configure(folder: Path, made: dict[str, Any], confirmations: int, *more: str) -> Path:
    password = folder / "password"
    password.touch(mode=0o600)
    password.write_text("devnet")
    store = folder / "keys" / "gateway.json"
    await keystore.import_key(store, accounts.role("client2").private_key, "devnet", rounds=4096)
    config = folder / "config.toml"
    config.write_text(f"""data_dir = "{folder / "data"}"
[network]
name = "devnet"
rpc_url = "{made["rpc_url"]}"
ws_url = "{made["ws_url"]}"
publish_url = "{made["pin_url"]}/file/create"
gateway_url = "{made["gateway_url"]}"
confirmations = {confirmations}
allow_private_urls = true
[gateway]
keystore = "{store}"
password_file = "{password}"
max_payment = "50"
sign_in_budget = "0.02"
{chr(10).join(more)}
[gateway.tiers]
batch = {{hourly = 200, concurrent = 200, batches = 2}}
load = {{hourly = 100000, concurrent = 100000, batches = 1000}}
tiny = {{hourly = 2, concurrent = 5, batches = 1}}
""")
    os.chmod(config, 0o600)
    return config


def _words(config: Path, *words: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "ogpu_provider.cli.main", "gateway", *words, "--config", str(config))


async def answers(http: httpx.AsyncClient) -> bool:
    try:
        return (await http.get("/api/models")).status_code == 200
    except httpx.TransportError:
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
