"""How long a start takes that finds a long history of other people's tasks: `scripts/bench history`.

A stub node in a process of its own makes the logs up and sends them as JSON-RPC; it refuses more than 10,000 in one
answer. Here: the true endpoint pool, watcher, intake, conductor and journal (SQLite on disk). A few of the tasks are
of a source of ours; all of these must be found, and nothing may be spent on the others.
"""

import argparse
import asyncio
import json
import os
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from ogpu_provider.chain.networks import devnet
from ogpu_provider.chain.pool import RpcPool
from ogpu_provider.chain.rpc import Rpc
from ogpu_provider.chain.watcher import Watcher
from ogpu_provider.domain.clock import SystemClock
from ogpu_provider.domain.facts import Block, Fact
from ogpu_provider.domain.source import ServedSource, SourceState
from ogpu_provider.domain.units import Address, Hash
from ogpu_provider.pipeline.concerns import Concerns
from ogpu_provider.store.sqlite import SqliteStore
from tests.fakes.archive import Archive
from tests.fakes.chain import CHAIN_ID, US, FakeChain
from tests.fakes.node import FakeNode
from tests.unit.pipeline.stage import Outside, running

OURS = 10
"""Tasks of a source of ours, spread over the history."""


@dataclass
class Past:
    """The history, and the contracts that its tasks of ours are in; the same in every process."""

    blocks: int
    per_block: int
    deaf: bool = False
    outside: Outside = field(default_factory=lambda: Outside(clock=SystemClock()))  # type: ignore[arg-type]

    def __post_init__(self) -> None:
        self.outside.chain = FakeChain(self.outside.clock)
        self.source = self.outside.source()
        step = max(1, self.blocks // OURS)
        tasks = [self.outside.chain.publish_task(self.source, lasts=-1).task for _ in range(OURS)]
        self.ours = {1 + step * number: task for number, task in enumerate(tasks)}
        self.archive = Archive(self.blocks, self.per_block, self.source, self.ours, deaf=self.deaf)


@dataclass
class Told:
    """What reached the intake, and what it took."""

    tasks: list[Address]
    facts: int
    deliveries: int
    counts: Counter[str]
    cursor: tuple[int, Hash] | None


async def catch_up(folder: Path, url: str, past: Past) -> Told:
    """From the first block to the last; what is in the journal then is what was found."""
    store = await SqliteStore.open(folder / "provider.db", chain_id=CHAIN_ID, provider=US)
    past.outside.journal = store  # type: ignore[assignment]
    seen: list[Fact] = []
    deliveries, there = 0, asyncio.Event()
    async with running(past.outside) as daemon, RpcPool([Rpc(devnet(url))]) as pool:
        params = await past.outside.chain.source(past.source)
        daemon.ports.book.put(ServedSource(past.source, SourceState.WANTED, params=params))

        async def deliver(block: Block, facts: Sequence[Fact]) -> None:
            nonlocal deliveries
            deliveries += 1
            seen.extend(facts)
            await daemon.intake.deliver(block, facts)
            if block.number == past.blocks:
                there.set()

        concerns = Concerns(US, daemon.ports.book, daemon.conductor.follows, lambda _: False)
        start = 0, Hash(past.archive.header(0)["hash"])
        watcher = Watcher(pool, devnet(url), deliver, SystemClock(), start, concerning=concerns.of)
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(watcher.run())
            await there.wait()
            watching.cancel()
        counts = pool.counts
    rows = [await store.task(task) for task in past.ours.values()]
    told = Told([row.address for row in rows if row], len(seen), deliveries, counts, await store.cursor())
    await store.close()
    return told


async def serve(past: Past) -> None:
    async with FakeNode(past.archive.reply) as node:
        print(node.http_url, flush=True)
        await asyncio.Event().wait()


async def measure(args: argparse.Namespace) -> dict[str, Any]:
    past = Past(args.logs // args.per_block, args.per_block)
    again = [sys.executable, "-m", "benchmarks.history", *sys.argv[1:], "--serve"]
    node = await asyncio.create_subprocess_exec(*again, stdout=asyncio.subprocess.PIPE)
    try:
        assert node.stdout is not None
        url = (await node.stdout.readline()).decode().strip()
        before = resource.getrusage(resource.RUSAGE_SELF)
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="history-") as folder:
            told = await catch_up(Path(folder), url, past)
        took, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF)
    finally:
        node.kill()
        await node.wait()
    assert told.tasks == list(past.ours.values()), "every task of ours was found"
    return {
        "logs": past.blocks * past.per_block,
        "blocks": past.blocks,
        "seconds": round(took, 1),
        "cpu_seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
        "peak_memory_grew_mib": round((after.ru_maxrss - before.ru_maxrss) / 1024, 1),
        "requests": sum(told.counts.values()),
        "of_them_logs": told.counts["eth_getLogs"],
        "deliveries": told.deliveries,
        "facts_delivered": told.facts,
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--logs", type=int, default=1_000_000)
    parser.add_argument("--per-block", type=int, default=10)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    if args.serve:
        asyncio.run(serve(Past(args.logs // args.per_block, args.per_block)))
    else:
        print(json.dumps(asyncio.run(measure(args)), indent=2))


if __name__ == "__main__":
    main()
