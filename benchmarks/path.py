"""The path of a task, measured: run by `./scripts/bench`."""

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.rpc_proxy import RpcProxy
from ogpu_provider.devnet import accounts
from ogpu_provider.devnet.deployment import pair_and_fund
from ogpu_provider.devnet.engine import remove_instance
from ogpu_provider.devnet.jsonrpc import JsonRpc
from ogpu_provider.devnet.network import LocalNetwork
from ogpu_provider.devnet.provider_process import ProviderProcess
from ogpu_provider.devnet.publishing import publish_sample
from ogpu_provider.devnet.sdk import SdkClient
from ogpu_provider.domain.intent import Effect
from ogpu_provider.domain.task import TaskState
from ogpu_provider.domain.units import COIN, Address
from ogpu_provider.store.reader import SqliteReader
from tests.waiting import open_when_there, sources_ready, until

INSTANCE = "bench"
SETTINGS: dict[str, dict[str, object]] = {
    "admission": {"min_time_left": 5.0, "cpu_slots": 16, "slots_per_source": 16},
    "runtime": {"instance": INSTANCE},
}


@dataclass(frozen=True)
class Usage:
    """Of the daemon's process: resident bytes, CPU seconds since its start."""

    rss: int
    cpu: float

    @classmethod
    def of(cls, pid: int) -> "Usage":
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        ticks = int(fields[11]) + int(fields[12])
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return cls(pages * os.sysconf("SC_PAGE_SIZE"), ticks / os.sysconf("SC_CLK_TCK"))


def cpu_seconds(pid: int) -> float:
    """All threads of a process together, exactly; 0 where the kernel does not count."""
    try:
        return sum(int(one.read_text().split()[0]) for one in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9
    except OSError:
        return 0.0


def quantile(values: Sequence[float], q: float) -> float:
    return sorted(values)[min(len(values) - 1, int(q * len(values)))]


def spread(values: Sequence[float]) -> dict[str, float]:
    return {
        "p50": round(statistics.median(values), 4),
        "p95": round(quantile(values, 0.95), 4),
        "max": round(max(values), 4),
        "n": len(values),
    }


async def measure(tasks: int, rate: float, idle: float, endpoints: int = 1) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="ogpu-bench-") as folder:
        async with LocalNetwork(Path(folder)) as network, RpcProxy(network.node.ws_url) as proxy:
            made = network.describe()
            await pair_and_fund(network.node.rpc_url, network.deployment)
            key = accounts.role("client").private_key
            async with SdkClient(made["rpc_url"], made["pin_url"] + "/file/create", key) as client:
                source = Address(await publish_sample(network, client, "multiply"))
                provider = accounts.role("provider").private_key
                through = {**made, "ws_url": proxy.url}
                more: dict[str, object] = {"rpc_urls": [made["ws_url"]]} if endpoints > 1 else {}
                settings = {**SETTINGS, "network": more}
                try:
                    async with ProviderProcess(Path(folder), through, provider, settings) as daemon:
                        proxy.cpu = partial(cpu_seconds, daemon.pid)
                        reader = await open_when_there(daemon)
                        await sources_ready(daemon, reader, {source})
                        rest = await _idle(daemon, proxy, idle)
                        busy = await _busy(network, client, daemon, proxy, reader, source, tasks, rate)
                        await reader.close()
                finally:
                    await remove_instance(INSTANCE)
    return {"machine": _machine(), "idle": rest, "tasks": busy}


async def _idle(daemon: ProviderProcess, proxy: RpcProxy, seconds: float) -> dict[str, Any]:
    await asyncio.sleep(5)
    calls, counts, heads, before = proxy.total, proxy.counts.copy(), len(proxy.heads), Usage.of(daemon.pid)
    start = time.monotonic()
    await asyncio.sleep(seconds)
    after, took = Usage.of(daemon.pid), time.monotonic() - start
    blocks = max(1, len(proxy.heads) - heads)
    return {
        "seconds": round(took, 1),
        "rpc_calls_per_block": round((proxy.total - calls) / blocks, 2),
        "rpc_calls_per_minute": round((proxy.total - calls) / took * 60, 1),
        "rpc_calls": dict((proxy.counts - counts).most_common()),
        "memory_mb": round(after.rss / 1e6, 1),
        "cpu_percent_of_a_core": round((after.cpu - before.cpu) / took * 100, 2),
    }


async def _busy(
    network: LocalNetwork,
    client: SdkClient,
    daemon: ProviderProcess,
    proxy: RpcProxy,
    reader: SqliteReader,
    source: Address,
    count: int,
    rate: float,
) -> dict[str, Any]:
    calls, before = proxy.counts.copy(), Usage.of(daemon.pid)
    start = time.monotonic()
    published: list[Address] = []
    for number in range(count):
        await asyncio.sleep(max(0.0, start + number / rate - time.monotonic()))
        address = await client.call(
            "publish_task",
            source=source,
            function="multiply",
            data={"a": number, "b": 7},
            expiry=int(time.time() + 600),
            payment=COIN // 1000,
        )
        published.append(Address(address))

    async def over() -> bool:
        daemon.check()
        rows = [await reader.task(task) for task in published]
        return all(row is not None and row.state.over for row in rows)

    await until(over, 120, "every task to end", pause=0.5)
    took, after = time.monotonic() - start, Usage.of(daemon.pid)
    legs = [await _legs(network, proxy, reader, task) for task in published]
    used = proxy.counts - calls
    settled = sum(leg["settled"] for leg in legs)
    return {
        "published": count,
        "settled": settled,
        "seconds": round(took, 1),
        "attempt_after_head_s": spread([leg["attempt"] for leg in legs]),
        "response_after_callback_s": spread([leg["response"] for leg in legs]),
        "response_after_pin_s": spread([leg["response"] - leg["pinned"] for leg in legs]),
        "cpu_from_head_to_attempt_s": spread([leg["attempt cpu"] for leg in legs]),
        "cpu_from_attempt_to_response_s": spread([leg["response cpu"] for leg in legs]),
        "on_the_way_p50_s": {
            name: spread([leg[name] for leg in legs])["p50"]
            for name in ("seen", "attempt planned", "attempt signed", "produced", "pinned", "response signed")
        },
        "publish_to_finalized_s": spread([leg["finalized"] for leg in legs]),
        "rpc_calls_per_task": round(sum(used.values()) / count, 2),
        "rpc_calls_per_task_without_blocks": round((sum(used.values()) - used["eth_getLogs"]) / count, 2),
        "rpc_calls": dict(used.most_common()),
        "cpu_ms_per_task": round((after.cpu - before.cpu) / count * 1000, 1),
        "memory_mb": round(after.rss / 1e6, 1),
    }


async def _legs(network: LocalNetwork, proxy: RpcProxy, reader: SqliteReader, address: Address) -> dict[str, float]:
    """Seconds of the legs of one task; times of sending and of heads are the proxy's."""
    task = await reader.task(address)
    assert task is not None
    sent: dict[Effect, float] = {}
    cpu: dict[Effect, float] = {}
    signed: dict[Effect, float] = {}
    planned: dict[Effect, float] = {}
    for row in await reader.intents_of(address):
        planned[row.intent.effect] = row.planned_at
        for tx in await reader.signed(row.intent.key):
            sent[row.intent.effect] = proxy.sent["0x" + tx.raw.hex()]
            cpu[row.intent.effect] = proxy.cpu_at["0x" + tx.raw.hex()]
            signed[row.intent.effect] = tx.signed_at
    saved = {line.after: line.at for line in await reader.history(address)}
    head = proxy.heads[task.seen_block]
    called_back = await reader.result_at(address)
    assert called_back is not None
    async with JsonRpc(network.node.rpc_url) as rpc:
        stamps = [
            int((await rpc.call("eth_getBlockByNumber", hex(number), False))["timestamp"], 16)
            for number in (task.seen_block, task.finalized_block or task.seen_block)
        ]
    return {
        "seen": task.seen_at - head,
        "attempt planned": planned[Effect.ATTEMPT] - head,
        "attempt signed": signed[Effect.ATTEMPT] - head,
        "attempt": sent[Effect.ATTEMPT] - head,
        "attempt cpu": cpu[Effect.ATTEMPT] - proxy.cpu_at[task.seen_block],
        "response cpu": cpu[Effect.SUBMIT_RESPONSE] - cpu[Effect.ATTEMPT],
        "produced": saved[TaskState.PRODUCED] - called_back,
        "pinned": saved[TaskState.PINNED] - called_back,
        "response signed": signed[Effect.SUBMIT_RESPONSE] - called_back,
        "response": sent[Effect.SUBMIT_RESPONSE] - called_back,
        "finalized": float(stamps[1] - stamps[0]),
        "settled": float(task.state is TaskState.SETTLED),
    }


def _machine() -> dict[str, Any]:
    return {
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "block_time_s": 1.0,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=100)
    parser.add_argument("--rate", type=float, default=2.0, help="tasks published a second")
    parser.add_argument("--idle", type=float, default=60.0, help="seconds of idling measured first")
    parser.add_argument("--endpoints", type=int, choices=(1, 2), default=1, help="only calls to the first are counted")
    chosen = parser.parse_args()
    figures = asyncio.run(measure(chosen.tasks, chosen.rate, chosen.idle, chosen.endpoints))
    json.dump(figures, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
