"""How long `simulate` takes over a week of a busy chain: `scripts/bench simulate`.

A file of the chain's past is made up, as reading the chain would have left it; then the command runs over it, as an
operator would run it a second time: a process of its own that asks no node. CPU time and memory are the kernel's word.
"""

import argparse
import asyncio
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ogpu_provider.chain.networks import TESTNET
from ogpu_provider.domain.facts import Attempted, Origin, ResponseSubmitted, TaskStatus, TaskStatusChanged
from ogpu_provider.domain.history import Passage, Publication, Turn
from ogpu_provider.domain.source import DeliveryMethod, Environment, SourceParams, SourceStatus
from ogpu_provider.domain.units import COIN, Address, Hash
from ogpu_provider.store.history import HistoryStore

WEEK_S = 7 * 86_400 - 3600
"""Less what it may take to make it up: the command counts back from when it starts."""
SERVED, SOURCES = 20, 24
PORTION = 10_000
POLICY = """
[admission]
min_payment = "0.002"
min_margin = "0"
slots_per_source = 2
[price]
per_kwh = "0.31"
per_kwh_in = {"mon-fri 22:00-06:00" = "0.21"}
coin_price = "0.05"
watts = 300
[owner]
hours = ["mon-fri 08:00-06:00", "sat,sun"]
[sources]
idle_after = 600
serve = [%s]
"""
HOST = 'cpu_slots = %d\n[[devices]]\nenvironment = "nvidia"\nname = "RTX 4090"\nmemory_gib = 24\ncount = %d\n'


def source(number: int) -> Address:
    return Address(f"0x{number + (1 << 100):040x}")


async def make(path: Path, many: int, begin: int) -> None:
    """`many` tasks, evenly over a week; four in five are attempted, of these nine in ten answered."""
    store = await HistoryStore.open(path, network=f"{TESTNET.chain_id} {TESTNET.nexus}")
    dice = random.Random(7)
    for first in range(0, many, PORTION):
        await store.keep(passage(first, min(many, first + PORTION), begin, WEEK_S / many, dice))
    await store.keep_params([terms(number) for number in range(SOURCES)])
    await store.close()


def terms(number: int) -> SourceParams:
    environments = frozenset({Environment.CPU} if number % 4 == 3 else {Environment.NVIDIA, Environment.CPU})
    delivery = DeliveryMethod.MANUAL_CONFIRMATION if number % 5 == 4 else DeliveryMethod.FIRST_RESPONSE
    client = Address(f"0x{number + (1 << 101):040x}")
    return SourceParams(source(number), client, "", environments, 0, 0, 3600, delivery, 0, SourceStatus.ACTIVE)


def passage(first: int, end: int, begin: int, gap: float, dice: random.Random) -> Passage:
    """One task a block."""
    published: list[Publication] = []
    turns: list[tuple[int, Turn]] = []
    name = Hash("0x" + "00" * 32)
    for number in range(first, end):
        at, task = begin + int(number * gap), Address(f"0x{number + (1 << 150):040x}")
        pays, lasts = dice.randrange(1, 40) * COIN // 1000, dice.choice((45, 120, 600, 3600))
        published.append(Publication(task, source(dice.randrange(SOURCES)), number, 0, at, pays, at + lasts))
        origin = Origin(number, name, name, 1)
        if dice.random() < 0.8:
            turns.append((at + 1, Attempted(origin, task, source(0), pays)))
            if dice.random() < 0.9:
                took = min(lasts - 2, dice.randrange(3, 60))
                turns.append((at + 1 + took, ResponseSubmitted(origin, task, task)))
                turns.append((at + 1 + took, TaskStatusChanged(origin, task, TaskStatus.FINALIZED)))
    return Passage(first, end - 1, name, begin + int((end - 1) * gap), published, turns)


def simulate(folder: Path) -> dict[str, Any]:
    words = [sys.executable, "-m", "ogpu_provider.cli.main", "simulate", "--since", "7d", "--offline", "--json"]
    words += ["--config", f"{folder}/config.toml", "--policy", f"{folder}/policy.toml", "--host", f"{folder}/host.toml"]
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    answer = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "tasks": answer["published"]["tasks"],
        "accepted": answer["accepted"],
        "waited": answer["waited"],
        "cards_busy": round(sum(card["share"] for card in answer["cards"]) / len(answer["cards"]), 3),
        "cpu_s": round(cpu, 1),
        "cpu_us_a_task": round(1e6 * cpu / max(1, answer["published"]["tasks"])),
        "wall_s": round(time.monotonic() - started, 1),
        "peak_rss_mib": after.ru_maxrss >> 10,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--cards", type=int, default=16)
    args = parser.parse_args()
    many = args.tasks
    with tempfile.TemporaryDirectory(prefix="simulate-") as name:
        folder = Path(name)
        folder.joinpath("config.toml").write_text(
            f'data_dir = "{folder}"\n[network]\nname = "devnet"\nrpc_url = "http://127.0.0.1:9"\n'
        )
        listed = ", ".join(f'"{source(number)}"' for number in range(SERVED))
        folder.joinpath("policy.toml").write_text(POLICY % listed)
        folder.joinpath("host.toml").write_text(HOST % (2 * args.cards, args.cards))
        asyncio.run(make(folder / "history.db", many, int(time.time()) - WEEK_S))
        size = folder.joinpath("history.db").stat().st_size
        print(json.dumps(simulate(folder) | {"file_mib": size >> 20, "load": os.getloadavg()[0]}, indent=2))


if __name__ == "__main__":
    main()
