"""One lost reply to a send, on the official SDK's sender: two effects, or a success that is called a failure. Ours:
tests/faults/test_lost_answers.py.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from ogpu_provider.devnet.accounts import role
from ogpu_provider.devnet.deployment import deploy
from ogpu_provider.devnet.jsonrpc import JsonRpc
from ogpu_provider.devnet.node import Node
from tests.faults.lies import Fault
from tests.faults.proxy import Proxy

pytestmark = [pytest.mark.devnet, pytest.mark.timeout(600)]
SEND = "eth_sendRawTransaction"
ROLES = ("client", "master", "provider", "agent")
TWICE = {"deposit", "lock", "publishTask"}
"""What has its effect twice: the Vault took the coin twice, two tasks are paid for."""
DENIED = {"register", "attempt", "submitResponse", "cancelTask"}
"""What the contracts would refuse the second time: it worked, and the caller hears that it failed."""


class Sdk:
    """The program `sdk_sends`, which sends through `url`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, url: str, home: Path) -> "Sdk":
        environment = {"RPC_URL": url, "PATH": "/usr/bin:/bin", "HOME": str(home)}
        environment |= {f"{name.upper()}_PRIVATE_KEY": role(name).private_key for name in ROLES}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.integration.devnet.sdk_sends"),
            env=environment,
            cwd=Path(__file__).parents[3],
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        sdk = cls(process)
        assert await sdk.said() == "ready"
        return sdk

    async def said(self) -> Any:
        assert self._process.stdout
        line = await asyncio.wait_for(self._process.stdout.readline(), 120)
        assert line, "the SDK's program ended"
        return json.loads(line)

    async def send(self, kind: str) -> Any:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(kind).encode() + b"\n")
        return await self.said()

    async def end(self) -> None:
        self._process.kill()
        await self._process.wait()


async def sent_since(rpc: JsonRpc, block: int) -> list[str]:
    """The status of every transaction in the blocks after `block`."""
    found = []
    for number in range(block + 1, int(await rpc.call("eth_blockNumber"), 16) + 1):
        hashes = (await rpc.call("eth_getBlockByNumber", hex(number), False))["transactions"]
        found += [(await rpc.call("eth_getTransactionReceipt", tx))["status"] for tx in hashes]
    return found


async def test_what_the_official_sdk_makes_of_one_lost_reply(tmp_path: Path) -> None:
    outcomes: dict[str, tuple[int, int, str]] = {}
    async with Node(tmp_path / "node.log", block_time=0.2) as node, JsonRpc(node.rpc_url) as rpc:
        await deploy(node.rpc_url)
        async with Proxy(node.rpc_url) as proxy:
            sdk = await Sdk.start(proxy.url, tmp_path)
            for kind in ("deposit", "lock", "register", "publishTask", "attempt", "submitResponse", "cancelTask"):
                block = int(await rpc.call("eth_blockNumber"), 16)
                await proxy.arm(Fault.ANSWER_LOST, SEND, times=1)
                said = await sdk.send(kind)
                await asyncio.sleep(1.0)
                statuses = await sent_since(rpc, block)
                outcomes[kind] = len(statuses), statuses.count("0x1"), said
            await sdk.end()
    print(outcomes)
    assert {kind for kind, outcome in outcomes.items() if outcome == (2, 2, "success")} == TWICE
    failed = {kind for kind, (sent, worked, said) in outcomes.items() if (sent, worked) == (1, 1) and said != "success"}
    assert failed == DENIED
