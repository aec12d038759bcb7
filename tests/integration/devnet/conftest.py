"""A fresh node with the contracts, per test. Blocks are mined by the transactions and by `pass_time` only."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from ogpu_provider.devnet import tools
from ogpu_provider.devnet.abi import artifact
from ogpu_provider.devnet.accounts import Account, role
from ogpu_provider.devnet.deployment import COIN, Deployment, deploy, pair_and_fund
from ogpu_provider.devnet.jsonrpc import JsonRpc
from ogpu_provider.devnet.node import Node
from ogpu_provider.devnet.transactions import read, transact
from ogpu_provider.domain.errors import DevnetError

CPU, NVIDIA, AMD = 1, 2, 4
MANUAL, FIRST = 0, 1
Receipt = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Terms:
    """SourceParams, in their order."""

    client: str
    metadata: str = "http://metadata.example/source.json"
    environments: int = CPU | NVIDIA
    min_payment: int = COIN // 100
    min_lockup: int = 0
    max_expiry: int = 3600
    privacy: bool = False
    optional: str = ""
    delivery: int = FIRST
    updated: int = 0

    def tuple(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self.__slots__)


class Network:
    """The deployed protocol, and the words that the tests speak to it with."""

    def __init__(self, rpc: JsonRpc, url: str, deployment: Deployment) -> None:
        self.rpc = rpc
        self.url = url
        self.deployment = deployment
        self.client = role("client")
        self.master = role("master")
        self.provider = role("provider")
        self.agent = role("agent")
        self.judge = role("deployer")

    async def pair(self, number: int = 1, lockup: int = 1000 * COIN) -> tuple[Account, Account]:
        """The numbered master and provider, paired."""
        suffix = "" if number == 1 else str(number)
        pair = role("master" + suffix), role("provider" + suffix)
        await pair_and_fund(self.url, self.deployment, deposit=0, lockup=lockup, pairs=[pair])
        return pair

    async def deposit(self, account: Account, amount: int) -> None:
        await self.act(account, "Vault", "deposit", account.address, value=amount)

    async def source(self, **terms: Any) -> str:
        params = replace(Terms(client=self.client.address), **terms)
        receipt = await self.act(self.client, "Nexus", "publishSource", params.tuple())
        return str(self.events(receipt, "SourcePublished")[0]["source"])

    async def task(self, source: str, payment: int = COIN, lasts: int = 600) -> str:
        terms = (source, "http://config.example/task.json", await self.now() + lasts, payment)
        receipt = await self.act(self.client, "Controller", "publishTask", terms)
        return str(self.events(receipt, "TaskPublished")[0]["task"])

    async def register(self, source: str, provider: Account, environment: int = CPU) -> Receipt:
        return await self.act(provider, "Nexus", "register", source, provider.address, environment)

    async def attempt(self, task: str, provider: Account, by: Account | None = None) -> Receipt:
        return await self.act(by or provider, "Nexus", "attempt", task, provider.address, COIN)

    async def submit(
        self, task: str, provider: Account, payment: int = COIN, data: str = "ipfs://x", by: Account | None = None
    ) -> Receipt:
        params = (task, provider.address, data, payment)
        return await self.act(by or provider, "Nexus", "submitResponse", params)

    async def act(self, account: Account, contract: str, function: str, *args: Any, value: int = 0) -> Receipt:
        """A transaction to one of the network's single contracts."""
        address = getattr(self.deployment, contract.lower())
        return await transact(self.rpc, account, address, contract, function, *args, value=value)

    async def ask(self, contract: str, function: str, *args: Any) -> Any:
        """A view of one of the network's single contracts."""
        return await read(self.rpc, getattr(self.deployment, contract.lower()), contract, function, *args)

    async def of(self, contract: str, address: str, function: str, *args: Any) -> Any:
        """A view of one Source, Task or Response."""
        return await read(self.rpc, address, contract, function, *args)

    async def status(self, task: str) -> int:
        return int(await self.of("Task", task, "getStatus"))

    async def balance(self, account: Account) -> int:
        return int(await self.ask("Vault", "balanceOf", account.address))

    def events(self, receipt: Receipt, event: str, contract: str = "Nexus") -> list[dict[str, Any]]:
        return artifact(contract).events(receipt["logs"], event)

    async def now(self) -> int:
        return int((await self.rpc.call("eth_getBlockByNumber", "latest", False))["timestamp"], 16)

    async def pass_time(self, seconds: int) -> None:
        await self.rpc.call("evm_increaseTime", seconds)
        await self.rpc.call("evm_mine")

    @contextmanager
    def refused(self, reason: str) -> Iterator[None]:
        with pytest.raises(DevnetError) as caught:
            yield
        assert caught.value.code == "devnet.reverted"
        assert reason in str(caught.value)


@pytest.fixture
async def anvil() -> Path:
    try:
        return await tools.ensure_anvil()
    except DevnetError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"no anvil: {error}")


@pytest.fixture
async def network(anvil: Path, tmp_path: Path) -> AsyncIterator[Network]:
    async with (
        Node(tmp_path / "node.log", block_time=3600, binary=anvil) as node,
        JsonRpc(node.rpc_url) as rpc,
    ):
        yield Network(rpc, node.rpc_url, await deploy(node.rpc_url))
