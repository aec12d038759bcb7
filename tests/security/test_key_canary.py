"""A known key goes through the life of a provider and of a gateway, with failures and a crash; then it is looked for.

The key is in a keystore, its password in a credential as systemd gives it, and, as the incumbent has it, the key is in
the environment of the first daemon and of every command. Nowhere else may either be.
"""

import asyncio
import contextlib
import json
import os
import resource
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import httpx
import pytest
import pytest_asyncio
from eth_account import Account as EthAccount

from ogpu_provider.devnet import accounts
from ogpu_provider.devnet.accounts import Account
from ogpu_provider.devnet.deployment import pair_and_fund
from ogpu_provider.devnet.engine import remove_instance
from ogpu_provider.devnet.jsonrpc import JsonRpc
from ogpu_provider.devnet.network import LocalNetwork
from ogpu_provider.devnet.provider_process import ProviderProcess
from ogpu_provider.devnet.publishing import publish_sample
from ogpu_provider.devnet.sdk import SdkClient
from ogpu_provider.devnet.transactions import transact
from ogpu_provider.domain.source import DeliveryMethod, SourceState
from ogpu_provider.domain.task import TaskState
from ogpu_provider.domain.units import COIN, Address
from tests.canary import Canary
from tests.e2e.world import World
from tests.waiting import open_when_there, sources_ready, until

pytestmark = [
    pytest.mark.devnet,
    pytest.mark.docker,
    pytest.mark.timeout(900),
    pytest.mark.asyncio(loop_scope="module"),
]
INSTANCE = f"canary-{os.getpid()}"
INCUMBENT = "PROVIDER_PRIVATE_KEY"
GREEDY = """
services:
  app:
    image: "{image}"
    ports: ["${{PORT}}:5555"]
    environment: ["PROVIDER_PRIVATE_KEY", "KEY=${{PROVIDER_PRIVATE_KEY:-}}", "X=${{X:?give $PROVIDER_PRIVATE_KEY}}"]
"""
COMMANDS = (
    ("doctor", "--json"),
    ("status", "--json"),
    ("status",),
    ("config", "show"),
    ("config", "explain", "wallet.password_credential"),
    ("keys", "show", "--json"),
    ("sources", "list", "--json"),
    ("tasks", "list", "--json"),
    ("why-idle",),
    ("earnings", "--json"),
    ("metrics",),
    ("top",),
    ("run",),  # a second one: refused
)


class Holder:
    """A secret key with its password, and where the operator keeps both."""

    def __init__(self, folder: Path) -> None:
        self.key = secrets.token_bytes(32)
        self.password = f"{secrets.token_hex(4)} staple {secrets.token_hex(8)}"
        self.canary = Canary(self.key, self.password)
        self.account = Account(str(EthAccount.from_key(self.key).address), "0x" + self.key.hex())
        folder.mkdir(mode=0o700)
        self.key_file, self.password_file = folder / "key", folder / "password"
        for path, text in ((self.key_file, self.key.hex()), (self.password_file, self.password)):
            path.touch(mode=0o600)
            path.write_text(text)


@dataclass
class Life:
    """The whole path, and everything that anybody outside was shown of it."""

    folder: Path
    provider: Holder
    client: Holder
    world: World
    gateway_port: int
    shown: dict[str, bytes] = field(default_factory=dict)

    @property
    def config(self) -> str:
        return str(self.world.daemon.config)

    async def command(self, *words: str, variables: Mapping[str, str] = {}) -> int:
        """Run one with the key in its environment, as an operator of the incumbent's may have it."""
        config = () if words[0] == "compose" else ("--config", self.config)  # that one needs no settings
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "ogpu_provider.cli.main", *words, *config),
            env={**os.environ, "OGPU_PROVIDER_DEBUG": "1", INCUMBENT: self.provider.key.hex(), **variables},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        self.shown[" ".join(words)] = said
        assert process.returncode is not None
        return process.returncode


@contextlib.contextmanager
def dumping_into(folder: Path) -> Iterator[None]:
    """Programs started meanwhile may leave core files, and would leave them in `folder`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    folder.mkdir()
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    try:
        with contextlib.chdir(folder):
            yield
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))


@contextlib.contextmanager
def variables(**given: str) -> Iterator[None]:
    os.environ.update(given)
    try:
        yield
    finally:
        for name in given:
            del os.environ[name]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def life(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Life]:
    folder, safe = tmp_path_factory.mktemp("canary"), tmp_path_factory.mktemp("safe")
    provider, client = Holder(safe / "provider"), Holder(safe / "client")
    async with LocalNetwork(folder) as network:
        made = network.describe()
        async with JsonRpc(network.node.rpc_url) as rpc:
            for holder in (provider, client):
                await rpc.call("anvil_setBalance", holder.account.address, hex(1000 * COIN))
            vault = network.deployment.vault
            await transact(rpc, client.account, vault, "Vault", "deposit", client.account.address, value=10 * COIN)
        pairs = [(accounts.role("master"), provider.account)]
        await pair_and_fund(network.node.rpc_url, network.deployment, pairs=pairs)
        async with SdkClient(
            made["rpc_url"], made["pin_url"] + "/file/create", accounts.role("client").private_key
        ) as sdk:
            sources = {"multiply": Address(await publish_sample(network, sdk, "multiply"))}
            compose = GREEDY.format(image="ghcr.io/someone/app@sha256:" + "0" * 64).encode()
            sources["greedy"] = Address(
                await sdk.call(
                    "publish_source",
                    name="greedy",
                    description="asks for the key",
                    compose={"cpu": await network.pinning.put(compose, "text/yaml")},
                    min_payment=COIN // 1000,
                    min_lockup=0,
                    max_expiry=86_400,
                    delivery=int(DeliveryMethod.FIRST_RESPONSE),
                )
            )
            port = free_port()
            settings: dict[str, dict[str, object]] = {
                "wallet": {"password_credential": "password"},
                "runtime": {"instance": INSTANCE},
                "logs": {"level": "debug", "format": "json"},
                "gateway": {
                    "port": port,
                    "keystore": str(folder / "gateway-keystore.json"),
                    "password_file": str(client.password_file),
                },
            }
            (folder / "gateway").mkdir()
            daemon = ProviderProcess(folder, made, "0x" + "00" * 32, settings)
            reader = None
            try:
                await _keystores(folder, provider, client)
                with (
                    variables(CREDENTIALS_DIRECTORY=str(provider.password_file.parent)),
                    variables(**{INCUMBENT: provider.key.hex()}),
                    dumping_into(folder / "cores"),
                ):
                    await daemon.__aenter__()
                reader = await open_when_there(daemon)
                await sources_ready(daemon, reader, {sources["multiply"]})
                yield Life(folder, provider, client, World(network, sdk, daemon, sources, reader), port)
            finally:
                if reader is not None:
                    await reader.close()
                await daemon.stop()
                await remove_instance(INSTANCE)


async def _keystores(folder: Path, provider: Holder, client: Holder) -> None:
    """By the command that operators have for it."""
    for holder, name in ((provider, "keystore.json"), (client, "gateway-keystore.json")):
        config = folder / f"import-{name}.toml"
        config.write_text(f'data_dir = "{folder / "data"}"\n[wallet]\nkeystore = "{folder / name}"\n')
        words = ("keys", "import", "--key-file", str(holder.key_file), "--password-file", str(holder.password_file))
        done = await asyncio.to_thread(
            lambda given: subprocess.run(given, capture_output=True, check=False),
            [sys.executable, "-m", "ogpu_provider.cli.main", *words, "--config", str(config)],
        )
        assert done.returncode == 0, done.stderr
        assert holder.canary.found(done.stdout + done.stderr) == []


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def leaks(life: Life) -> dict[str, list[str]]:
    """Both keys in everything that is left or shown: files of the daemon and the gateway, databases and their logs,
    rendered files, logs of tasks, core files, answers, containers as inspected and their output.
    """
    api = docker.APIClient(version="auto")
    rows = api.containers(all=True, filters={"label": f"ogpu.instance={INSTANCE}"})
    inspected: dict[str, Any] = {row["Id"]: api.inspect_container(row["Id"]) for row in rows}
    printed = {f"{row['Id']} logs": api.logs(row["Id"]) for row in rows}
    api.close()
    assert rows
    found: dict[str, list[str]] = {}
    for holder in (life.provider, life.client):
        found |= holder.canary.found_below(life.folder)
        found |= holder.canary.found_in_json(inspected)
        for name, text in (life.shown | printed).items():
            if marks := holder.canary.found(text):
                found[name] = marks
    return found


async def test_tasks_are_done_refused_and_failed(life: Life) -> None:
    world = life.world
    task = await world.publish("multiply", "multiply", {"a": 6, "b": 7})
    row = await world.reaches(task, TaskState.SETTLED)
    pinned = world.network.pinning.store.get(row.cid)
    assert pinned is not None
    life.shown["the pinned response"] = pinned.body
    failing = await world.publish("multiply", "fail", {"message": "on purpose"}, life=20.0)
    declined = await world.publish("multiply", "no such function", {})
    await world.reaches(declined, TaskState.DECLINED)
    greedy = next(row for row in await world.reader.sources() if row.address == world.sources["greedy"])
    assert greedy.state is SourceState.UNFIT
    await asyncio.gather(*(life.command(*words) for words in COMMANDS))
    await world.reaches(failing, TaskState.FAILED, TaskState.EXPIRED, timeout=90)
    asked = [f"tasks show {task} --json", f"tasks logs {failing}", f"why {declined}"]
    await asyncio.gather(*(life.command(*words.split()) for words in asked))
    compose = life.folder / "greedy.yml"
    compose.write_text(GREEDY.format(image="ghcr.io/someone/app:1"))
    assert await life.command("compose", "check", str(compose), "--environment", "cpu", "--json") == 1
    assert life.provider.account.address.encode() in life.shown["keys show --json"]
    assert leaks(life) == {}


async def test_no_child_and_no_container_of_a_daemon_that_was_given_the_key_has_it(life: Life) -> None:
    """The kernel keeps what the daemon itself was started with; nothing that it starts gets it."""
    daemon = str(life.world.daemon.pid)
    found = life.provider.canary.found_in_processes()
    assert {name.split("/")[2] for name in found} <= {daemon}


async def test_a_wrong_password_is_refused_without_a_word_of_it(life: Life) -> None:
    wrong = life.folder / "wrong"
    wrong.mkdir()
    (wrong / "password").write_text("not " + life.client.password[:5])
    assert await life.command("run", variables={"CREDENTIALS_DIRECTORY": str(wrong)}) != 0
    assert leaks(life) == {}


async def test_a_gateway_serves_with_a_key_of_its_own(life: Life) -> None:
    source = life.world.sources["multiply"]
    await life.command("gateway", "models", "add", "multiply", source, "multiply", "0.01")
    assert await life.command("gateway", "keys", "create", "someone") == 0
    told = life.shown["gateway keys create someone"].decode()
    secret = json.loads(told[told.index("{") :])["key"]
    with (life.folder / "gateway" / "gateway.log").open("wb") as log, dumping_into(life.folder / "gateway-cores"):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "ogpu_provider.cli.main", "gateway", "run", "--config", life.config),
            stdout=log,
            stderr=log,
        )
    headers = {"Authorization": f"Bearer {secret}"}
    base = f"http://127.0.0.1:{life.gateway_port}"
    async with httpx.AsyncClient(base_url=base, headers=headers, trust_env=False, timeout=30) as http:

        async def ask(method: str, path: str, **more: Any) -> httpx.Response:
            answer = await http.request(method, path, **more)
            life.shown[f"{method} {path} {len(life.shown)}"] = answer.content + str(answer.headers).encode()
            return answer

        async def alive() -> bool:
            assert process.returncode is None, (life.folder / "gateway" / "gateway.log").read_text()[-2000:]
            with contextlib.suppress(httpx.HTTPError):
                return (await http.get("/api/models")).status_code < 500
            return False

        async def over() -> bool:
            shown = await ask("GET", f"/api/tasks/{task}")
            return bool(shown.json().get("status") == "COMPLETED")

        await until(alive, 120, "the gateway to answer")
        body = {"model_id": "multiply", "input_data": {"a": 6, "b": 7}, "compute_requirements": {}}
        made = await ask("POST", "/api/tasks", json=body)
        assert made.status_code == 202, made.text
        task = made.json()["task_id"]
        await until(over, 120, "the task to be done", 0.5)
        for path in ("/", "/openapi.json", "/api/models", "/api/tasks", f"/api/tasks/{task}/results", "/nothing"):
            await ask("GET", path)
        await ask("POST", "/api/tasks", content=b"{")
        await ask("GET", "/api/tasks", headers={"Authorization": "Bearer nobody"})
    assert life.client.canary.found_in_processes() == {}
    process.send_signal(signal.SIGABRT)
    assert await process.wait() == -signal.SIGABRT
    assert list((life.folder / "gateway-cores").iterdir()) == []
    assert leaks(life) == {}


async def test_a_crash_leaves_no_core_file_and_the_next_life_no_key_anywhere(life: Life) -> None:
    daemon = life.world.daemon
    os.kill(daemon.pid, signal.SIGABRT)
    await until(daemon.died, 120, "the end of the daemon")
    assert daemon.exit_code == -signal.SIGABRT
    assert list((life.folder / "cores").iterdir()) == [], "a core file"
    with variables(CREDENTIALS_DIRECTORY=str(life.provider.password_file.parent)):
        await daemon.start()
    task = await life.world.publish("multiply", "multiply", {"a": 2, "b": 3})
    await life.world.reaches(task, TaskState.SETTLED, timeout=120)
    assert life.provider.canary.found_in_processes() == {}
    assert leaks(life) == {}


async def test_what_the_daemon_says_when_the_chain_is_gone(life: Life) -> None:
    """Tracebacks of libraries, at the level where most is said."""
    log = life.world.daemon.log
    before = log.stat().st_size
    await life.world.network.node.stop()

    async def told() -> bool:
        return b'"level": "warning"' in log.read_bytes()[before:]

    await until(told, 120, "the daemon to say it")
    assert await life.world.daemon.stop() == 0
    assert leaks(life) == {}
