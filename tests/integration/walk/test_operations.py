"""docs/operations.md, from the first day to the last: its commands, in their order, on a local network."""

import asyncio
import json
import os
import re
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from ogpu_provider.devnet import accounts, tools
from ogpu_provider.devnet.accounts import Account
from ogpu_provider.devnet.engine import project_sources, remove_instance
from ogpu_provider.devnet.jsonrpc import JsonRpc
from ogpu_provider.devnet.network import LocalNetwork
from ogpu_provider.devnet.publishing import publish_sample
from ogpu_provider.devnet.sdk import SdkClient
from ogpu_provider.devnet.transactions import read, transact
from ogpu_provider.domain.units import COIN
from tests.integration.walk.chapter import Block, blocks
from tests.integration.walk.machine import ROOT, Machine, leave_no_trace, missing_part
from tests.waiting import until

pytestmark = [pytest.mark.devnet, pytest.mark.docker, pytest.mark.timeout(900)]
INSTANCE = "walk"
STAKE = 100
SIGN = ROOT / "tests/integration/onboarding/sign.py"
SETTINGS = """
[network]
name = "devnet"
rpc_url = "{rpc_url}"
ws_url = "{ws_url}"
publish_url = "{pin_url}/file/create"
gateway_url = "{gateway_url}"
confirmations = 1
allow_private_urls = true

[runtime]
instance = "walk"
compose = ["/opt/ogpu-provider/bin/docker-compose"]

[execution]
response_margin = 4.0
"""


class Walk:
    """The chapter's blocks, taken one by one; what happens besides on chain and on the master's machine."""

    def __init__(self, network: LocalNetwork, client: SdkClient, source: str, home: Path, old: Machine) -> None:
        self.network = network
        self.client = client
        self.source = source
        self.home = home
        self.machine = old
        self.master = Account(accounts.role("master").address, accounts.role("master").private_key)
        self.left = blocks(ROOT / "docs/operations.md", "From the first day to the last")
        self.provider = ""

    def next(self, word: str) -> Block:
        block = self.left.pop(0)
        assert word in block.text, f"the chapter goes on with\n{block.text}"
        return block

    async def do(self, word: str, given: str = "", **variables: str) -> str:
        """The next block, which has `word` in it. Returns what it said."""
        block = self.next(word)
        done = await self.machine.run(block.text, given, **variables)
        assert done.code == 0, f"{block.text}\n{done.out}"
        return done.out

    async def say(self, *words: str) -> Any:
        """A command's JSON, whatever its exit code."""
        done = await self.machine.run(f"ogpu-provider {' '.join(words)} --json 2>/dev/null || true")
        return json.loads(done.out)

    async def new_key(self, out: str) -> None:
        """Whose address was printed, and funded then."""
        found = re.findall(r"0x[0-9a-fA-F]{40}", out)
        self.provider = found[-1]
        await self.fund(self.provider, COIN)

    async def fund(self, address: str, wei: int) -> None:
        async with JsonRpc(self.network.node.rpc_url) as rpc:
            await rpc.call("anvil_setBalance", address, hex(wei))

    async def registers(self, **variables: str) -> None:
        """The block runs, and waits until the master has signed exactly what it printed."""
        block = self.next("ogpu-provider register")
        run = await self.machine.start(block.text, **variables)
        assert run.stdout is not None
        printed = ""
        async with asyncio.timeout(120):
            while not re.search(r"^  link", printed, re.MULTILINE):
                line = await run.stdout.readline()
                assert line, printed
                printed += line.decode()
        await self.sign(printed)
        rest, _ = await asyncio.wait_for(run.communicate(), 180)
        assert run.returncode == 0, printed + rest.decode()

    async def sign(self, printed: str) -> None:
        key = self.home / "master"
        key.write_text(self.master.private_key)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(SIGN), self.network.node.rpc_url, str(key)),
            stdin=asyncio.subprocess.PIPE,
        )
        await process.communicate(printed.encode())
        assert process.returncode == 0

    async def earns(self) -> None:
        """The service serves the source, sooner or later, and is paid for a task."""
        before = await self.ask("Vault", "balanceOf", self.master.address)
        task = await self.client.call(
            "publish_task",
            source=self.source,
            function="multiply",
            data={"a": 6, "b": 7},
            expiry=await self.now() + 240,
            payment=COIN // 100,
        )

        async def finalised() -> bool:
            view = await self.client.call("task", address=task)
            return bool(view["status"] == "FINALIZED")

        await self.until(finalised, 240, "the task to be finalised")
        assert await self.ask("Vault", "balanceOf", self.master.address) == before + COIN // 100

    async def now(self) -> int:
        """The chain's clock."""
        async with JsonRpc(self.network.node.rpc_url) as rpc:
            return max(
                int(time.time()), int((await rpc.call("eth_getBlockByNumber", "latest", False))["timestamp"], 16)
            )

    async def ask(self, contract: str, function: str, *arguments: Any) -> Any:
        async with JsonRpc(self.network.node.rpc_url) as rpc:
            return await read(rpc, getattr(self.network.deployment, contract.lower()), contract, function, *arguments)

    async def by_master(self, contract: str, function: str, *arguments: Any) -> None:
        async with JsonRpc(self.network.node.rpc_url) as rpc:
            at = getattr(self.network.deployment, contract.lower())
            await transact(rpc, self.master, at, contract, function, *arguments)

    async def unbonding_passes(self) -> None:
        period = (await self.say("vault", "show"))["unbonding_period"]
        async with JsonRpc(self.network.node.rpc_url) as rpc:
            await rpc.call("evm_increaseTime", period + 1)
            await rpc.call("evm_mine")

    async def coin(self, address: str) -> int:
        """On an account, in wei."""
        async with JsonRpc(self.network.node.rpc_url) as rpc:
            return int(await rpc.call("eth_getBalance", address, "latest"), 16)

    async def paid_out(self, before: int) -> bool:
        return int(await self.ask("Vault", "balanceOf", self.master.address)) < before

    async def registered(self) -> bool:
        async with JsonRpc(self.network.node.rpc_url) as rpc:
            return bool(await read(rpc, self.source, "Source", "preferredEnvironmentOf", self.provider))

    async def unregistered(self) -> None:
        """The daemon has sent the transaction; the chain has it a block later."""

        async def gone() -> bool:
            return not await self.registered()

        await self.until(gone, 120, "the source to have no such provider")

    async def until(self, look: Callable[[], Awaitable[bool]], timeout: float, what: str) -> None:
        """Tells the end of the daemon's log where it waited in vain."""
        try:
            await until(look, timeout, what, pause=0.5)
        except AssertionError as error:
            error.add_note((await self.machine.run("tail -n 60 /run/walk/log")).out)
            raise


@pytest.fixture
async def walk(tmp_path: Path) -> AsyncIterator[tuple[Walk, Machine]]:
    if reason := missing_part():
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    compose = await tools.provision_compose()
    async with AsyncExitStack() as stack:
        stack.callback(leave_no_trace)
        stack.push_async_callback(remove_instance, INSTANCE)
        network = await stack.enter_async_context(LocalNetwork(tmp_path, block_time=0.5))
        made = network.describe()
        key = accounts.role("client").private_key
        client = await stack.enter_async_context(SdkClient(made["rpc_url"], made["pin_url"] + "/file/create", key))
        payer, vault = accounts.role("client"), network.deployment.vault
        async with JsonRpc(network.node.rpc_url) as rpc:
            await transact(rpc, payer, vault, "Vault", "deposit", payer.address, value=10 * COIN)
        source = await publish_sample(network, client, "multiply")
        home = tmp_path / "home"
        home.mkdir()
        variables = {
            "MASTER": accounts.role("master").address,
            "SOURCE": source,
            "STAKE": str(STAKE),
            "INSTANCE": INSTANCE,
        }
        old, new = [await stack.enter_async_context(Machine(home, compose, variables)) for _ in range(2)]
        yield Walk(network, client, source, home, old), new


async def test_every_command_of_the_chapter_works_in_its_order(walk: tuple[Walk, Machine]) -> None:
    on, new_host = walk
    await on.do("service install", "horse\n")
    await on.machine.run(f"cat >>/etc/ogpu-provider/config.toml <<'END'\n{SETTINGS.format(**on.network.describe())}END")
    await on.new_key(await on.do("keys create"))
    await on.registers()
    assert "handed over /var/lib/ogpu-provider/keystore.json" in await on.do("service install")
    await on.earns()
    said = await on.do("status")
    assert "process" in said
    assert "handed over" not in await on.do("drain")
    await on.earns()

    await on.do("tar -C / -czf")
    assert await project_sources(INSTANCE) == set()
    assert (await on.machine.run("test -e /var/lib/ogpu-provider/keystore.json")).code == 0, "uninstall leaves it"
    assert on.left[0].host == "new"
    on.machine = new_host
    await on.do("tar -C / --no-same-owner")
    await on.earns()

    old_key = on.provider
    await on.do("sources remove")
    await on.unregistered()
    await on.by_master("Terminal", "removeProvider", old_key)
    await on.new_key(await on.do("mv /var/lib/ogpu-provider"))
    assert on.provider != old_key
    await on.registers()
    await on.earns()
    await on.unbonding_passes()
    await on.do("ogpu-provider-old")
    assert await on.coin(old_key) > (STAKE - 1) * COIN

    await on.do("sources remove")
    await on.unregistered()
    await on.unbonding_passes()
    earned = (await on.say("vault", "show", "--account", "master"))["balance_wei"] // (COIN // 100)
    before = await on.ask("Vault", "balanceOf", on.master.address)
    printed = await on.do("vault claim", EARNED=str(earned / 100))
    assert await on.coin(on.provider) > (STAKE - 1) * COIN
    await on.sign(printed)
    await until(lambda: on.paid_out(before), 120, "the earnings on the master's account")
    await on.do("service uninstall")
    assert on.left == []
    assert (await on.machine.run("ls /etc/ogpu-provider/config.toml /var/lib/ogpu-provider/keystore.json")).code == 0
