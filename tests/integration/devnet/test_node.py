"""The node: where it listens, that its time is true, and that it never outlives its parent."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ogpu_provider.devnet.accounts import BALANCE, role
from ogpu_provider.devnet.deployment import COIN, deploy, pair_and_fund
from ogpu_provider.devnet.jsonrpc import JsonRpc
from ogpu_provider.devnet.node import TESTNET_CHAIN_ID, Node
from ogpu_provider.devnet.transactions import read
from ogpu_provider.domain.errors import DevnetError
from tests.waiting import until

pytestmark = pytest.mark.devnet

ORPHAN = """
import asyncio, sys
from pathlib import Path
from ogpu_provider.devnet.node import Node

async def main():
    async with Node(Path(sys.argv[1]), binary=Path(sys.argv[2])) as node:
        print(node.pid, flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_it_serves_http_and_websocket_with_the_testnets_id(anvil: Path, tmp_path: Path) -> None:
    from websockets.asyncio.client import connect

    async with Node(tmp_path / "node.log", binary=anvil) as node:
        async with JsonRpc(node.rpc_url) as rpc:
            assert int(await rpc.call("eth_chainId"), 16) == TESTNET_CHAIN_ID == 200820172034
            balance = int(await rpc.call("eth_getBalance", role("provider").address, "latest"), 16)
            assert balance == BALANCE * COIN
        async with connect(node.ws_url) as socket:
            await socket.send('{"jsonrpc":"2.0","id":1,"method":"eth_subscribe","params":["newHeads"]}')
            assert '"result"' in str(await socket.recv())


async def test_blocks_come_by_themselves_and_chain_time_is_wall_time(anvil: Path, tmp_path: Path) -> None:
    async with (
        Node(tmp_path / "node.log", block_time=0.1, binary=anvil) as node,
        JsonRpc(node.rpc_url) as rpc,
    ):

        async def head_after(number: int) -> dict[str, str] | None:
            head: dict[str, str] = await rpc.call("eth_getBlockByNumber", "latest", False)
            return head if int(head["number"], 16) > number else None

        head = await until(lambda: head_after(60), 120, "sixty blocks")
        assert int(head["timestamp"], 16) == pytest.approx(time.time(), abs=20), "a second a block would be 54 ahead"
        written = node.log_path.stat().st_size
        await asyncio.sleep(0.5)
        assert node.log_path.stat().st_size == written  # a long life does not fill the disk


async def test_two_nodes_do_not_meet(anvil: Path, tmp_path: Path) -> None:
    async with Node(tmp_path / "a.log", binary=anvil) as a, Node(tmp_path / "b.log", binary=anvil) as b:
        assert a.rpc_url != b.rpc_url


async def test_it_is_gone_after_stop_and_says_so(anvil: Path, tmp_path: Path) -> None:
    node = Node(tmp_path / "node.log", binary=anvil)
    await node.start()
    pid = node.pid
    await node.stop()
    await node.stop()
    assert not alive(pid)
    assert [entry.name for entry in tmp_path.iterdir()] == ["node.log"]
    with pytest.raises(DevnetError):
        _ = node.rpc_url


async def test_a_program_that_ends_at_once_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    program = tmp_path / "anvil"
    program.write_text("#!/bin/sh\necho out of cheese\nexit 1\n")
    program.chmod(0o755)
    with pytest.raises(DevnetError, match="out of cheese"):
        await Node(tmp_path / "node.log", binary=program).start()


@pytest.mark.skipif(sys.platform != "linux", reason="the parent's death signal is Linux's")
def test_it_dies_with_a_parent_that_is_killed(anvil: Path, tmp_path: Path) -> None:
    argv = [sys.executable, "-c", ORPHAN, str(tmp_path / "node.log"), str(anvil)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert alive(pid)
        os.kill(parent.pid, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(pid)


async def test_deploying_again_only_describes(anvil: Path, tmp_path: Path) -> None:
    async with Node(tmp_path / "node.log", binary=anvil) as node, JsonRpc(node.rpc_url) as rpc:
        first = await deploy(node.rpc_url)
        deployer = role("deployer").address
        count = await rpc.call("eth_getTransactionCount", deployer, "latest")
        assert await deploy(node.rpc_url) == first
        assert await rpc.call("eth_getTransactionCount", deployer, "latest") == count
        assert await read(rpc, first.nexus, "Nexus", "owner") == deployer


async def test_pairing_and_funding_can_be_asked_for_twice(anvil: Path, tmp_path: Path) -> None:
    async with Node(tmp_path / "node.log", binary=anvil) as node, JsonRpc(node.rpc_url) as rpc:
        deployment = await deploy(node.rpc_url)
        pairs = [(role("master"), role("provider")), (role("master2"), role("provider2"))]
        for _ in range(2):
            await pair_and_fund(node.rpc_url, deployment, deposit=5, lockup=7, pairs=pairs)
        for master, provider in pairs:
            assert await read(rpc, deployment.terminal, "Terminal", "masterOf", provider.address) == master.address
            assert await read(rpc, deployment.vault, "Vault", "lockupOf", provider.address) == 7
        assert await read(rpc, deployment.vault, "Vault", "balanceOf", role("client").address) == 10
