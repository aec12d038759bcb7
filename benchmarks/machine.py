"""How many tasks a second the whole state machine takes through, on one core: `taskset -c 0 scripts/bench machine`.

The true intake, conductor, stages, sender, signing policy and journal (SQLite on disk, every commit synchronous). In
memory: the chain, its contracts and pool, the pinning service, and containers that answer at once. Blocks come
every 250 ms; a task counts when it is settled. Log lines under `warning` are left out; `--log info` writes them to
/dev/null, as the daemon would elsewhere. `--profile` says where the CPU time goes, and slows the run down.
"""

import argparse
import asyncio
import json
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.profiling import profiled, shares
from ogpu_provider import telemetry
from ogpu_provider.chain.contracts import checksummed
from ogpu_provider.chain.networks import named
from ogpu_provider.domain.clock import SystemClock
from ogpu_provider.domain.intent import Intent, SignedTx
from ogpu_provider.domain.task import TaskState
from ogpu_provider.domain.units import Address, Wei
from ogpu_provider.keys.policy import Policy
from ogpu_provider.keys.signer import SecretKey, Signer
from ogpu_provider.store.sqlite import SqliteStore
from tests.crash.inmemory import Living, Whole
from tests.fakes.chain import CHAIN_ID, NEXUS, FakeChain
from tests.fakes.mempool import FakeSigner
from tests.unit.pipeline.stage import CONFIG, Outside

KEY = "0x" + "11" * 32
BLOCK_S = 0.25
LASTS_S = 3600


class TrueSigner(FakeSigner):
    """Checks and signs as the daemon does, then gives bytes that the pool in memory can read."""

    def __init__(self) -> None:
        super().__init__()
        key = SecretKey.from_hex(KEY)
        self._true = Signer(key, Policy(CHAIN_ID, key.address, NEXUS, named("testnet").terminal))
        self._address = checksummed(key.address)

    @property
    def address(self) -> Address:
        return self._address

    async def sign(
        self, intent: Intent, *, nonce: int, gas: int, max_fee: Wei, tip_fee: Wei | None, at: float
    ) -> SignedTx:
        await self._true.sign(intent, nonce=nonce, gas=gas, max_fee=max_fee, tip_fee=tip_fee, at=at)
        return await super().sign(intent, nonce=nonce, gas=gas, max_fee=max_fee, tip_fee=tip_fee, at=at)


async def check(store: SqliteStore, tasks: list[Address]) -> None:
    for row in [await store.task(task) for task in tasks]:
        assert row is not None
        assert row.state is TaskState.SETTLED, (row.state, row.code, row.reason)


async def measure(folder: Path, tasks: int, burst: int) -> dict[str, object]:
    clock, signer = SystemClock(), TrueSigner()
    store = await SqliteStore.open(folder / "provider.db", chain_id=CHAIN_ID, provider=signer.address)
    outside = Outside(clock=clock, journal=store)  # type: ignore[arg-type]
    outside.chain = FakeChain(clock, signer.address)
    whole = Whole(outside, signer=signer, slots=burst)
    whole.node.blocks = [replace(whole.node.head, timestamp=int(clock.now()))]
    source = outside.source()
    async with whole.alive() as living:
        while (row := living.daemon.ports.book.get(source)) is None or row.state != "ready":  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        began, used = time.monotonic(), time.process_time()
        while len(whole.tasks) < tasks or await store.live():
            assert not living.dead, "a service has ended"
            await one_block(whole, living, source, min(burst, tasks - len(whole.tasks)))
        took, cpu = time.monotonic() - began, time.process_time() - used
    assert all(count == 1 for counted in (whole.attempts, whole.responses) for count in counted.values())
    assert len(whole.responses) == tasks
    await check(store, whole.tasks)
    await store.close()
    return {
        "tasks": tasks,
        "tasks_per_second": round(tasks / took, 1),
        "cpu_ms_per_task": round(1000 * cpu / tasks, 2),
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 2),
    }


async def one_block(whole: Whole, living: Living, source: Address, publish: int) -> None:
    until = time.monotonic() + BLOCK_S
    made = [whole.outside.chain.publish_task(source, config_url=CONFIG, lasts=LASTS_S) for _ in range(publish)]
    whole.tasks += [fact.task for fact in made]
    block, facts = whole.mine()
    living.daemon.ports.head.block = block
    await living.daemon.intake.deliver(block, [*facts, *made])
    await asyncio.sleep(max(until - time.monotonic(), 0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tasks", type=int, default=2000)
    parser.add_argument("--burst", type=int, default=100, help="tasks in one block")
    parser.add_argument("--log", choices=("warning", "info"), default="warning")
    parser.add_argument("--profile", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="machine-") as folder, open(os.devnull, "w") as nowhere:
        telemetry.configure(level=args.log, format="json", stream=nowhere)
        run = measure(Path(folder), args.tasks, args.burst)
        if args.profile:
            with profiled() as profiles:
                figures = asyncio.run(run)
            figures["percent_of_cpu_time"] = shares(profiles)
        else:
            figures = asyncio.run(run)
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
