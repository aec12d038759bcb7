"""A thousand tasks published in one block: the first attempt leaves while the others are still being looked at."""

import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path as Folder
from typing import Any

import httpx
import pytest

from ogpu_provider.chain.decode import Decoder
from ogpu_provider.chain.reader import ChainReader
from ogpu_provider.devnet.abi import artifact
from ogpu_provider.devnet.deployment import COIN
from ogpu_provider.domain.facts import TaskPublished
from ogpu_provider.domain.task import TaskState
from ogpu_provider.domain.units import Address
from tests.integration.chain.host import ME, Host, a_host
from tests.integration.chain.path import a_path
from tests.sizes import size

pytestmark = pytest.mark.devnet
TASKS = size("burst tasks")
SLOTS = 4
THROUGH = TASKS // 10
"""So many are worked on to their end; then the time of all others is over."""
MIB = 2**20
LASTS = 3000
"""Seconds."""


class Counting:
    """A node, and how many requests to it were under way at once."""

    def __init__(self, node: Any) -> None:
        self._node = node
        self.running = 0
        self.most = 0

    async def call(self, method: str, *params: Any) -> Any:
        return await self._counted(self._node.call(method, *params))

    async def batch(self, calls: Sequence[Any]) -> Any:
        return await self._counted(self._node.batch(calls))

    async def _counted(self, answer: Any) -> Any:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            return await answer
        finally:
            self.running -= 1


@pytest.fixture
async def host(tmp_path: Folder) -> AsyncIterator[Host]:
    async with a_host(tmp_path, block_time=3600) as host:
        await host.rpc.call("evm_setAutomine", False)
        await host.rpc.call("evm_setBlockGasLimit", hex(10**11))
        yield host


async def publish(host: Host, source: Address, tasks: int) -> None:
    """All of them in the next block."""
    client, deployment = host.network.client, host.network.deployment
    first = int(await host.rpc.call("eth_getTransactionCount", client.address, "latest"), 16)
    terms = (source, "http://config.example/task.json", await host.network.now() + LASTS, COIN // 100)
    data = "0x" + artifact("Controller").encode("publishTask", terms).hex()
    calls = [
        {
            "jsonrpc": "2.0",
            "id": number,
            "method": "eth_sendTransaction",
            "params": [
                {
                    "from": client.address,
                    "to": deployment.controller,
                    "data": data,
                    "nonce": hex(first + number),
                    "gas": hex(3_000_000),
                    "maxFeePerGas": hex(10**11),
                    "maxPriorityFeePerGas": hex(10**9),
                }
            ],
        }
        for number in range(tasks)
    ]
    async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
        for start in range(0, tasks, 250):
            answers = (await http.post(host.network.url, json=calls[start : start + 250])).json()
            assert all("result" in one for one in answers), answers[0]


def memory() -> int:
    """Bytes of this process that are in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def test_a_thousand_tasks_in_one_block_are_all_attempted_or_declined_with_a_reason(host: Host) -> None:
    source = Address(await host.network.source())
    await host.network.register(source, host.network.provider)
    node = Counting(host.rpc)
    host.chain = ChainReader(node, host.rpc.network, ME)
    async with a_path(host, slots=SLOTS) as path:
        path.answers(source)
        await path.ready(source)
        await publish(host, source, TASKS)
        host.rpc.counts.clear()
        before, used = memory(), time.process_time()
        await path.mine()
        await path.until(lambda: said(bool(host.sends)), "the first attempt is sent")
        assert time.process_time() - used < 3, "seconds of one core, from the block to the first attempt"

        async def through() -> bool:
            return (await host.store.counts()).get(TaskState.SETTLED, 0) >= THROUGH

        await path.until(through, "many are paid", blocks=1, looks=10_000)
        path.answers(source, False)
        await host.network.pass_time(LASTS)
        await path.heard()
        path.daemon.conductor.nudge_seen()
        await path.until(lambda: said(not path.daemon.conductor.waits()), "all is over", blocks=1, looks=10_000)
        tasks = await published(host)
        assert len(tasks) == TASKS
        rows = [await host.store.task(task) for task in tasks]
        ends = Counter(row.state for row in rows if row is not None)
        assert ends.total() == TASKS
        assert ends[TaskState.SETTLED] >= THROUGH
        for row in rows:
            assert row is not None
            attempted = host.chain.intent_attempt(row.address, 0, 0.0).key
            assert row.code if row.state is not TaskState.SETTLED else True, row
            assert (await host.store.intent(attempted) is None) == (row.state is TaskState.DECLINED), row
    assert node.most <= 64, "what is asked of a node at once is bounded"
    attempts = TASKS - ends[TaskState.DECLINED]
    assert host.rpc.counts["eth_call"] <= TASKS + 2 * attempts + 50
    assert sum(host.rpc.counts.values()) - host.rpc.counts["eth_call"] <= 12 * attempts + 20 * len(ends) + 200
    assert memory() - before < 48 * MIB + TASKS * 16 * 1024


async def said(value: bool) -> bool:
    return value


async def published(host: Host) -> list[Address]:
    """The tasks of the chain, by its logs."""
    there = host.rpc.network
    logs = await host.network.rpc.call("eth_getLogs", {"fromBlock": "0x0", "toBlock": "latest", "address": there.nexus})
    found = Decoder(there.nexus, there.terminal).facts(logs)
    return [fact.task for fact in found if isinstance(fact, TaskPublished)]
