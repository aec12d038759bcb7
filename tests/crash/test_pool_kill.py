"""kill -9 with transactions in the pool and no block to take them: none is sent anew, none is in vain."""

import asyncio
import json
import time

import pytest

from ogpu_provider.devnet import accounts
from ogpu_provider.devnet.abi import artifact
from ogpu_provider.devnet.jsonrpc import JsonRpc
from ogpu_provider.domain.task import TaskState
from ogpu_provider.domain.units import COIN, Address
from tests.crash.conftest import Crashing
from tests.waiting import until

pytestmark = [
    pytest.mark.devnet,
    pytest.mark.docker,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(600),
]
INSTANCE = "poolkill"
TASKS = 10
LIFE_S = 400


async def publish_in_one_block(world: Crashing, rpc: JsonRpc) -> list[Address]:
    """Tasks of one block, after which no block comes any more."""
    client, there = accounts.role("client").address, world.network.deployment
    await rpc.call("evm_setIntervalMining", 0)
    hashes = []
    for n in range(TASKS):
        config = json.dumps({"function_name": "multiply", "data": {"a": n, "b": 3}}).encode()
        link = await world.network.pinning.put(config, "application/json")
        terms = (world.sources["multiply"], link, int(time.time()) + LIFE_S, COIN // 100)
        data = "0x" + artifact("Controller").encode("publishTask", terms).hex()
        call = {"from": client, "to": there.controller, "data": data, "gas": hex(3_000_000)}
        hashes.append(await rpc.call("eth_sendTransaction", call))
    await rpc.call("evm_mine")
    tasks = []
    for n, digest in enumerate(hashes):
        receipt = await rpc.call("eth_getTransactionReceipt", digest)
        [event] = artifact("Nexus").events(receipt["logs"], "TaskPublished")
        tasks.append(Address(event["task"]))
        world.products[tasks[-1]] = {"result": 3 * n}
    return tasks


async def test_what_is_in_the_pool_when_the_daemon_dies_is_sent_once(world: Crashing) -> None:
    async with JsonRpc(world.network.node.rpc_url) as rpc:

        async def waiting() -> int:
            return int((await rpc.call("txpool_status"))["pending"], 16)

        tasks = await publish_in_one_block(world, rpc)

        async def enough() -> bool:
            world.daemon.check()
            return await waiting() >= TASKS

        await until(enough, 120, f"{TASKS} transactions in the pool")
        await world.daemon.kill()
        held = await waiting()
        await world.daemon.start()

        async def all_attempted() -> bool:
            world.daemon.check()
            return await waiting() > held or held == 2 * TASKS

        await until(all_attempted, 120, "the second daemon to go on")
        await asyncio.sleep(2.0)
        await rpc.call("evm_setIntervalMining", 1)
        for task in tasks:
            await world.reaches(task, TaskState.SETTLED, timeout=LIFE_S)
    await world.audit()
    verdict = await world.auditor.verdict(world.products)
    ours = 2 * TASKS + len(world.sources) + 1  # an attempt and a response each, registrations, the pairing
    assert verdict.transactions == ours
    print(f"{held} transactions were in the pool at the kill, {verdict.transactions} in blocks in the end")
