"""A chain with a past: thousands of tasks on a real node, within hours of its own time that pass in seconds.

Every 30 s, fifty tasks of three sources in one block; two seconds later another provider attempts most of them, and
answers many after 3, 9 or 24 seconds more. One source is confirmed by hand: its client confirms in every second
round. In one round of three, whoever published takes some of what nobody attempted back. Blocks are mined by hand,
transactions signed by the node.
"""

import asyncio
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import httpx

from ogpu_provider.devnet.abi import artifact
from ogpu_provider.devnet.accounts import role
from ogpu_provider.devnet.deployment import COIN, Deployment, deploy, pair_and_fund
from ogpu_provider.devnet.node import Node

ROUND_S, PER_ROUND = 30, 50
LAST_BLOCKS = 14
"""At the end: the newest ones are left out by whoever reads the past."""
GAS = {
    "publishTask": 3_000_000,
    "attempt": 400_000,
    "submitResponse": 2_000_000,
    "confirmResponse": 400_000,
    "cancelTask": 400_000,
}


class Plain:
    """JSON-RPC by itself."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=120.0, trust_env=False)
        self._ids = itertools.count(1)

    def call(self, method: str, *params: Any) -> Any:
        return self.batch([(method, params)])[0]

    def batch(self, calls: Iterable[tuple[str, Sequence[Any]]]) -> list[Any]:
        asked = [{"jsonrpc": "2.0", "id": next(self._ids), "method": m, "params": list(p)} for m, p in calls]
        if not asked:
            return []
        answers = {one["id"]: one for one in self._client.post("", json=asked).raise_for_status().json()}
        found = [answers[one["id"]] for one in asked]
        assert all("result" in one for one in found), next(one for one in found if "result" not in one)
        return [one["result"] for one in found]

    def close(self) -> None:
        self._client.close()


class PastNet:
    """`with PastNet(...)`: the node runs in a loop of its own, so that tests and commands are free to have theirs."""

    def __init__(self, folder: Path, tasks: int) -> None:
        self._runner = asyncio.Runner()
        self._node = Node(folder / "node.log", block_time=3600)
        self._rounds = max(1, tasks // PER_ROUND)
        self._nonces: dict[str, int] = {}
        self._waiting: list[tuple[str, list[Any]]] = []
        self.client, self.picky, self.other = role("client"), role("client2"), role("provider2")
        self.us = role("provider")

    def __enter__(self) -> Self:
        self._runner.run(self._node.start())
        self.url = self._node.rpc_url
        self.rpc = Plain(self.url)
        self.deployment = self._runner.run(self._settle())
        self.rpc.call("evm_setBlockGasLimit", hex(10**10))
        self.now = int(self.rpc.call("eth_getBlockByNumber", "latest", False)["timestamp"], 16) + 100
        self.first, self.unserved = (self._source(self.client.address, 1) for _ in range(2))
        self.manual = self._source(self.picky.address, 0)
        self._act(self.other.address, "Nexus", "register", self.first, self.other.address, 1)
        self._act(self.other.address, "Nexus", "register", self.manual, self.other.address, 1)
        self._mine(self.now)
        self.begin = self.now
        for number in range(self._rounds):
            self._round(number, self.begin + 10 + number * ROUND_S)
        for _ in range(LAST_BLOCKS):
            self._mine(self.now + 1)
        return self

    def __exit__(self, *_: object) -> None:
        self.rpc.close()
        self._runner.run(self._node.stop())
        self._runner.close()

    async def _settle(self) -> Deployment:
        deployment = await deploy(self.url)
        pairs = [(role("master"), role("provider")), (role("master2"), role("provider2"))]
        await pair_and_fund(self.url, deployment, deposit=100_000 * COIN, lockup=1000 * COIN, pairs=pairs)
        return deployment

    def _source(self, client: str, delivery: int) -> str:
        terms = (client, "http://metadata.example/s.json", 3, 0, 0, 3600, False, "", delivery, 0)
        self._act(client, "Nexus", "publishSource", terms)
        self._mine(self.now + 1)
        return str(self._events("SourcePublished")[0]["source"])

    def _round(self, number: int, at: int) -> None:
        """One task in five is of the source that nobody here serves, one of the one to be confirmed by hand."""
        for place in range(PER_ROUND):
            source = {3: self.unserved, 4: self.manual}.get(place % 5, self.first)
            pays = COIN * (1 + (number * 7 + place * 3) % 20) // 1000
            pays += (number * PER_ROUND + place) * 10**9  # no two are worth the same
            lasts = (27, 45, 90, 400)[(number + place) % 4]
            terms = (source, "http://config.example/task.json", at + lasts, pays)
            self._act(self.client.address, "Controller", "publishTask", terms)
        self._mine(at)
        tasks = [one for one in self._events("TaskPublished") if one["source"] != self.unserved]
        taken = [one["task"] for place, one in enumerate(tasks) if (number + place) % 5]
        for task in taken:
            self._act(self.other.address, "Nexus", "attempt", task, self.other.address, COIN)
        left = [one["task"] for one in tasks if one["task"] not in taken]
        if number % 6 == 0:
            self._take_back(left[::2])
        self._mine(at + 2)
        if number % 6 == 3:
            self._take_back(left[::2])
        for wait, share in ((3, 0), (9, 1), (24, 2)):
            for place, task in enumerate(taken):
                if place % 4 == share:
                    response = (task, self.other.address, f"ipfs://{task}", 0)
                    self._act(self.other.address, "Nexus", "submitResponse", response)
            self._mine(at + 2 + wait)
            if number % 2 == 0:  # the client confirms at once, where that is for it to do
                self._confirm()

    def _take_back(self, tasks: Sequence[str]) -> None:
        for task in tasks:
            self._act(self.client.address, "Controller", "cancelTask", task)

    def _confirm(self) -> None:
        answered = self._events("ResponseSubmitted")
        ended = {one["task"] for one in self._events("TaskStatusChanged") if one["status"] == 5}
        for one in answered:
            if one["task"] not in ended:
                self._act(self.client.address, "Controller", "confirmResponse", one["response"])
        self._mine(self.now + 1)

    def _act(self, sender: str, contract: str, function: str, *args: Any) -> None:
        """For the next block; the node signs."""
        if sender not in self._nonces:
            self._nonces[sender] = int(self.rpc.call("eth_getTransactionCount", sender, "latest"), 16)
        data = artifact(contract).encode(function, *args)
        sent = {
            "from": sender,
            "to": getattr(self.deployment, contract.lower()),
            "data": "0x" + data.hex(),
            "nonce": hex(self._nonces[sender]),
            "gas": hex(GAS.get(function, 5_000_000)),
            "maxFeePerGas": hex(2 * 10**9),
            "maxPriorityFeePerGas": "0x1",
        }
        self._nonces[sender] += 1
        self._waiting.append(("eth_sendTransaction", [sent]))

    def _mine(self, at: int) -> None:
        self.rpc.batch(self._waiting)
        self._waiting = []
        self.rpc.call("evm_setNextBlockTimestamp", at)
        self.rpc.call("evm_mine")
        self.now = at
        block = self.rpc.call("eth_blockNumber")
        receipts = self.rpc.call("eth_getBlockReceipts", block)
        assert all(one["status"] == "0x1" for one in receipts)
        self._logs = [log for one in receipts for log in one["logs"]]

    def _events(self, name: str) -> list[dict[str, Any]]:
        """Of the last block."""
        return artifact("Nexus").events(self._logs, name)
