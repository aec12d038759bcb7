"""How long a decision takes: 200 sources and 16 cards, shared as far as learnt peaks allow: `scripts/bench placement`.

A decision is where a source goes (`grant`), what it keeps of its card by now (`share`), or whether a task is taken
(`admit`, with estimate, costs, breakers and bid). Times are this thread's CPU time, so that what else runs on the
machine counts little.
"""

import argparse
import json
import os
import random
import time
from collections.abc import Callable

from ogpu_provider.domain.admission import Candidate
from ogpu_provider.domain.intent import Effect
from ogpu_provider.domain.learnt import Fact, Key, Knowledge
from ogpu_provider.domain.resources import Device, Host, source_holder, task_holder
from ogpu_provider.domain.source import DeliveryMethod, Environment
from ogpu_provider.domain.units import COIN, Address
from ogpu_provider.scheduler.assessment import Assessment, AssessmentPolicy
from ogpu_provider.scheduler.rules import AdmissionPolicy
from ogpu_provider.scheduler.scheduler import HostScheduler
from ogpu_provider.scheduler.sharing import Sharing

GIB = 1 << 30
NOW = 1_800_000_000.0


def world(sources: int, cards: int, chance: random.Random) -> tuple[HostScheduler, list[Address]]:
    devices = tuple(Device(f"GPU-{n}", Environment.NVIDIA, f"model {n % 3}", 24 * GIB) for n in range(cards))
    addresses = [Address(f"0x{n:040x}") for n in range(sources)]
    knowledge = Knowledge()
    for source in addresses:
        for model in range(3):
            key = Key(Fact.PEAK_MEMORY, source, f"model {model}")
            knowledge.add(key, chance.randint(1, 4) * GIB // 2, at=NOW)
        for _ in range(100):
            knowledge.add(Key(Fact.RUN, source, "generate"), chance.uniform(1, 20), at=NOW)
            knowledge.add(Key(Fact.ENERGY, source, "generate"), chance.uniform(100, 5000), at=NOW)
            knowledge.add(Key(Fact.WON, source), chance.random() < 0.5, at=NOW)
    for effect in (Effect.ATTEMPT, Effect.SUBMIT_RESPONSE):
        knowledge.add(Key(Fact.GAS, effect), 10**14, at=NOW)
    assessment = Assessment(AssessmentPolicy(), knowledge)
    for source in addresses[::3]:
        assessment.sources.strike(source, NOW)
    policy = AdmissionPolicy(min_margin=0, deny_sources=frozenset(Address(f"0x{n:040x}") for n in range(9000, 9100)))
    host = Host(64, devices)
    return HostScheduler(host, policy, assessment.circumstances, Sharing(knowledge)), addresses


def candidate(n: int, source: Address) -> Candidate:
    return Candidate(
        task=Address(f"0x{10**6 + n:040x}"),
        source=source,
        client=Address(f"0x{10**7 + n % 50:040x}"),
        obliged=False,
        payment=COIN,
        expiry=int(NOW) + 600,
        delivery=DeliveryMethod(n % 2),
        environment=Environment.NVIDIA,
        function="generate",
        functions=frozenset({"generate", "embed"}),
        violations=(),
        source_problem="",
        now=NOW,
    )


def timed(work: Callable[[], object], into: list[float]) -> None:
    began = time.thread_time_ns()
    work()
    into.append((time.thread_time_ns() - began) / 1e6)


def measure(sources: int, cards: int, rounds: int) -> dict[str, object]:
    chance = random.Random(7)
    scheduler, addresses = world(sources, cards, chance)
    times: dict[str, list[float]] = {"grant": [], "admit": [], "share": []}
    granted = 0
    for n in range(rounds):
        source = chance.choice(addresses)
        timed(lambda: scheduler.grant_devices(source, Environment.NVIDIA, 1, (source,)), times["grant"])  # noqa: B023
        granted += scheduler.lease(source) is not None
        timed(lambda: scheduler.share(source), times["share"])  # noqa: B023
        task = candidate(n, source)
        timed(lambda: scheduler.admit(task), times["admit"])  # noqa: B023
        if chance.random() < 0.5:
            scheduler.release(task_holder(task.task))
        if chance.random() < 0.1:
            scheduler.release(source_holder(chance.choice(addresses)))
    leases = [lease for lease in scheduler.snapshot().leases if lease.devices]
    return {
        "sources": sources,
        "cards": cards,
        "decisions": rounds,
        "granted": granted,
        "sources_on_cards_at_the_end": len(leases),
        "cpu_ms": {name: quantiles(found) for name, found in times.items()},
        "load": round(os.getloadavg()[0], 2),
    }


def quantiles(found: list[float]) -> dict[str, float]:
    ordered = sorted(found)
    return {
        name: round(ordered[min(len(ordered) - 1, int(q * len(ordered)))], 3)
        for name, q in (("p50", 0.5), ("p99", 0.99), ("most", 1.0))
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sources", type=int, default=200)
    parser.add_argument("--cards", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=20_000)
    args = parser.parse_args()
    print(json.dumps(measure(args.sources, args.cards, args.rounds), indent=2))


if __name__ == "__main__":
    main()
