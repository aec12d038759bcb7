"""Estimate, costs and verdict of any task, against plain arithmetic of the test's own."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ogpu_provider.domain.admission import Candidate
from ogpu_provider.domain.intent import Effect
from ogpu_provider.domain.learnt import Fact, Key, Knowledge
from ogpu_provider.domain.resources import Host
from ogpu_provider.domain.source import DeliveryMethod, Environment
from ogpu_provider.domain.units import COIN, Address
from ogpu_provider.domain.week import hours
from ogpu_provider.scheduler.assessment import Assessment, AssessmentPolicy
from ogpu_provider.scheduler.breakers import BreakerPolicy
from ogpu_provider.scheduler.price import Tariff, Terms
from ogpu_provider.scheduler.rules import AdmissionPolicy
from ogpu_provider.scheduler.scheduler import HostScheduler

SOURCE, CLIENT = Address("0x" + "ab" * 20), Address("0x" + "cd" * 20)
NOON = int(datetime(2026, 6, 1, 12, tzinfo=UTC).timestamp())  # a Monday
SECONDS = st.lists(st.integers(0, 400), max_size=12)


@dataclass(frozen=True, slots=True)
class Case:
    """Seconds, wei, bytes, joules. `strikes`: how long ago the source failed, or the client did not pay."""

    left: int
    pays: int
    up: bool
    obliged: bool
    pull: int
    hour: int
    runs: list[int]
    starts: list[int]
    pins: list[int]
    rates: list[int]
    joules: list[int]
    gas: list[int]
    failed: list[int]
    unpaid: list[int]
    quantile: Fraction
    floor: int
    margin: int | None
    spare: int
    day: int
    night: int
    coin: int | None
    watts: int
    rate: int


CASES = st.builds(
    Case,
    left=st.integers(-50, 900),
    pays=st.integers(0, 40).map(lambda n: n * COIN // 100),
    up=st.booleans(),
    obliged=st.booleans(),
    pull=st.integers(0, 10**9),
    hour=st.integers(0, 23),
    runs=SECONDS,
    starts=SECONDS,
    pins=st.lists(st.integers(0, 9), max_size=5),
    rates=st.lists(st.integers(10**6, 10**8), max_size=4),
    joules=st.lists(st.integers(0, 10**6), max_size=6),
    gas=st.lists(st.integers(0, COIN // 50), max_size=5),
    failed=st.lists(st.integers(0, 5000), max_size=6),
    unpaid=st.lists(st.integers(0, 5000), max_size=6),
    quantile=st.sampled_from([Fraction(0), Fraction(1, 2), Fraction(3, 4), Fraction(1)]),
    floor=st.integers(0, 40).map(lambda n: n * COIN // 100),
    margin=st.none() | st.integers(-10, 30).map(lambda n: n * COIN // 100),
    spare=st.integers(1, 60),
    day=st.integers(0, 90),
    night=st.integers(0, 90),
    coin=st.none() | st.integers(1, 300),
    watts=st.integers(0, 2000),
    rate=st.integers(0, 3).map(lambda n: n * COIN),
)


def at_share(samples: list[int], share: Fraction) -> int | None:
    """The smallest one that this share of them does not exceed, found by counting."""
    fits = [one for one in sorted(samples) if Fraction(sum(other <= one for other in samples), len(samples)) >= share]
    return fits[0] if fits else None


def estimated(case: Case) -> Fraction:
    """From now to the response's block."""
    pin = at_share(case.pins, case.quantile)
    total = Fraction(at_share(case.runs, case.quantile) or 0) + (1 if pin is None else pin) + 2
    if not case.up:
        total += at_share(case.starts, case.quantile) or 0
        if case.rates:
            total += Fraction(case.pull * len(case.rates), sum(case.rates))
    return total


def left_of(case: Case) -> int:
    """Of the payment, once everything is paid; each bill rounded up."""
    run = at_share(case.runs, case.quantile) or 0
    used = at_share(case.joules, Fraction(1, 2))
    used = case.watts * run if used is None else used
    cents = case.night if not 8 <= case.hour < 22 else case.day
    energy = Fraction(0)
    if case.coin is not None:
        energy = Fraction(used, 3_600_000) * Fraction(cents, 100) / Fraction(case.coin, 100) * COIN
    middle = at_share(case.gas, Fraction(1, 2))
    gas = 0 if middle is None else 2 * middle
    return case.pays - gas - -(-energy // 1) - -(-Fraction(run * case.rate, 3600) // 1)


def left_alone(ago: list[int]) -> bool:
    """Three at once, each half as heavy after 1000 s, until they weigh 1.5 together."""
    weight, shut, last = 0.0, False, 0
    for at in sorted(5000 - one for one in ago):
        weight *= math.exp2(-(at - last) / 1000)
        shut = (shut and weight > 1.5) or weight + 1 >= 3
        weight, last = weight + 1, at
    return shut and weight * math.exp2(-(5000 - last) / 1000) > 1.5


def against(case: Case) -> list[str]:
    found = []
    if case.left <= 0:
        found.append("time.expired")
    elif case.left < estimated(case) + case.spare:
        found.append("time.too_short")
    if case.obliged:
        return found
    if case.pays < case.floor:
        found.append("payment.below_floor")
    if case.margin is not None and left_of(case) < case.margin:
        found.append("payment.below_margin")
    found += ["breaker.source"] if left_alone(case.failed) else []
    found += ["breaker.client"] if left_alone(case.unpaid) else []
    return found


def learnt(case: Case) -> Knowledge:
    knowledge = Knowledge()
    kept: dict[Key, Any] = {
        Key(Fact.RUN, SOURCE, "work"): case.runs,
        Key(Fact.COLD_START, SOURCE): case.starts,
        Key(Fact.PIN): case.pins,
        Key(Fact.PULL_RATE): case.rates,
        Key(Fact.ENERGY, SOURCE, "work"): case.joules,
        Key(Fact.GAS, Effect.ATTEMPT): case.gas,
        Key(Fact.GAS, Effect.SUBMIT_RESPONSE): case.gas,
        Key(Fact.RUN, SOURCE, "other"): [1000],
        Key(Fact.RUN, CLIENT, "work"): [1000],
    }
    for key, samples in kept.items():
        for one in samples:
            knowledge.add(key, one, at=0)
    return knowledge


def scheduler(case: Case, now: int) -> HostScheduler:
    tariff = Tariff(Fraction(case.day, 100), ((hours("22:00-08:00"), Fraction(case.night, 100)),))
    policy = AssessmentPolicy(
        quantile=float(case.quantile),
        terms=Terms(tariff, None if case.coin is None else Fraction(case.coin, 100), case.watts, case.rate),
        breakers=BreakerPolicy(3, 1000),
        zone=UTC,
    )
    assessment = Assessment(policy, learnt(case))
    assessment.sources.restore(SOURCE, sorted(now - ago for ago in case.failed))
    assessment.clients.restore(CLIENT, sorted(now - ago for ago in case.unpaid))
    terms = AdmissionPolicy(min_payment=case.floor, min_margin=case.margin, min_time_left=case.spare)
    return HostScheduler(Host(4), terms, assessment.circumstances)


@settings(max_examples=300, deadline=None)
@given(CASES)
def test_a_task_is_declined_for_what_plain_arithmetic_says(case: Case) -> None:
    assume(abs(case.left - estimated(case) - case.spare) > 1e-6 or case.up)  # a float is as good as that
    now = NOON + (case.hour - 12) * 3600
    task = Candidate(
        task=Address("0x" + "11" * 20),
        source=SOURCE,
        client=CLIENT,
        obliged=case.obliged,
        payment=case.pays,
        expiry=now + case.left,
        delivery=DeliveryMethod.FIRST_RESPONSE,
        environment=Environment.CPU,
        function="work",
        functions=frozenset({"work"}) if case.up else None,
        violations=(),
        source_problem="",
        now=float(now),
        pull_left=case.pull,
    )
    admission = scheduler(case, now).admit(task)
    expected = against(case)
    assert [reason.code for reason in admission.verdict.reasons] == expected
    assert (admission.lease is not None) == (not expected)
