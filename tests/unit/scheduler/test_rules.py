from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogpu_provider.domain.admission import Candidate
from ogpu_provider.domain.source import DeliveryMethod, Environment
from ogpu_provider.domain.units import COIN, Address
from ogpu_provider.domain.verdict import Reason
from ogpu_provider.scheduler.circumstances import Circumstances, OpenBreaker
from ogpu_provider.scheduler.estimate import Estimate
from ogpu_provider.scheduler.price import Costs
from ogpu_provider.scheduler.rules import ABILITY, CHOICE, AdmissionPolicy, judge

TASK = Address("0x" + "11" * 20)
SOURCE = Address("0x" + "Ab" * 20)
CLIENT = Address("0x" + "Cd" * 20)
OTHER = Address("0x" + "22" * 20)
NOW = 1_000_000.0

GOOD = Candidate(
    task=TASK,
    source=SOURCE,
    client=CLIENT,
    obliged=False,
    payment=COIN // 100,
    expiry=int(NOW) + 600,
    delivery=DeliveryMethod.FIRST_RESPONSE,
    environment=Environment.NVIDIA,
    function="generate",
    functions=frozenset({"generate", "embed"}),
    violations=(),
    source_problem="",
    now=NOW,
)
POLICY = AdmissionPolicy(min_payment=COIN // 100, min_time_left=30)


def codes(candidate: Candidate, policy: AdmissionPolicy = POLICY, now: Circumstances | None = None) -> list[str]:
    return [reason.code for reason in judge(candidate, policy, now).reasons]


def text(candidate: Candidate, policy: AdmissionPolicy = POLICY, now: Circumstances | None = None) -> str:
    (reason,) = judge(candidate, policy, now).reasons
    return reason.text


def test_a_good_task_is_accepted() -> None:
    assert judge(GOOD, POLICY).accepted


def test_a_source_that_is_not_ready_says_what_is_wrong() -> None:
    bad = replace(GOOD, source_problem="image sha256:12 is missing")
    assert codes(bad) == ["source.not_ready"]
    assert "image sha256:12 is missing" in text(bad)


def test_no_environment() -> None:
    assert codes(replace(GOOD, environment=None)) == ["environment.none"]


def test_unknown_function_names_what_there_is() -> None:
    bad = replace(GOOD, function="genrate")
    assert codes(bad) == ["function.unknown"]
    assert "'genrate'" in text(bad)
    assert "embed; generate" in text(bad)


def test_functions_are_not_judged_while_the_project_is_down() -> None:
    assert codes(replace(GOOD, function="anything", functions=None)) == []


def test_an_input_that_does_not_fit_lists_the_first_violations() -> None:
    bad = replace(GOOD, violations=tuple(f"messages.{n}: missing" for n in range(7)))
    assert codes(bad) == ["function.invalid_input"]
    assert "in 7 points" in text(bad)
    assert "messages.4" in text(bad)
    assert "messages.5" not in text(bad)
    assert "2 more" in text(bad)


def test_a_violation_of_any_length_makes_a_short_sentence() -> None:
    assert len(text(replace(GOOD, violations=("x" * 100_000,)))) < 400


def test_payment_below_the_floor_shows_both_figures() -> None:
    bad = replace(GOOD, payment=COIN // 100 - 1)
    assert codes(bad) == ["payment.below_floor"]
    assert "0.009999999999999999 OGPU" in text(bad)
    assert "0.01 OGPU" in text(bad)


@pytest.mark.parametrize(("floor", "expected"), [(COIN, ["payment.below_floor"]), (0, [])])
def test_the_floor_of_a_source_goes_before_the_general_one(floor: int, expected: list[str]) -> None:
    policy = replace(POLICY, min_payment_by_source={Address(SOURCE.lower()): floor})
    cheap = replace(GOOD, payment=COIN // 1000)
    assert codes(cheap, policy) == expected
    assert codes(replace(cheap, source=OTHER), policy) == ["payment.below_floor"]


def test_expired_is_said_once_and_not_as_too_short() -> None:
    assert codes(replace(GOOD, expiry=int(NOW))) == ["time.expired"]
    assert "60 s ago" in text(replace(GOOD, expiry=int(NOW) - 60))


@pytest.mark.parametrize(
    ("expiry", "shown"), [(1_795_315_566, "at 2026-11-22 02:46:06 UTC"), (2**256 - 1, f"at {2**256 - 1}")]
)
def test_an_expiry_is_a_date_for_people_as_far_as_there_are_calendars(expiry: int, shown: str) -> None:
    rulings = judge(replace(GOOD, expiry=expiry), POLICY).rulings
    assert next(one for one in rulings if one.code == "time.expired").text.endswith(shown)


def test_time_left_must_cover_estimate_and_margin() -> None:
    takes = Circumstances(estimate=Estimate(cold=20, run=477, pin=1, chain=2))
    assert codes(replace(GOOD, expiry=int(NOW) + 530), now=takes) == []
    late = replace(GOOD, expiry=int(NOW) + 529)
    assert codes(late, now=takes) == ["time.too_short"]
    said = "529.0 s are left; it takes 500.0 s (start 20.0, run 477.0, pin 1.0, blocks 2.0 s) and a margin of 30 s"
    assert text(late, now=takes) == said
    assert codes(late) == []


def test_the_margin_is_what_is_left_of_the_payment_after_all_costs() -> None:
    spent = Circumstances(costs=Costs(gas=COIN // 1000, energy=COIN // 500, rate=COIN // 1000))
    policy = replace(POLICY, min_margin=COIN // 100 - COIN // 250)
    assert codes(GOOD, policy, spent) == []
    dear = replace(policy, min_margin=policy.min_margin and policy.min_margin + 1)
    assert codes(GOOD, dear, spent) == ["payment.below_margin"]
    assert "leaves 0.006 OGPU of 0.01 (gas 0.001, energy 0.002, rate 0.001)" in text(GOOD, dear, spent)
    assert codes(GOOD, replace(dear, min_margin_by_source={SOURCE: 0}), spent) == []
    assert codes(replace(GOOD, obliged=True), dear, spent) == []


def test_a_margin_before_any_gas_was_paid_says_so() -> None:
    assert "gas not known yet" in text(GOOD, replace(POLICY, min_margin=COIN), Circumstances())


def test_open_breakers_and_the_owners_hours_refuse_what_is_not_owed() -> None:
    now = Circumstances(source=OpenBreaker(3.4, 3, 60), client=OpenBreaker(5, 3, 90), closed="sat,sun")
    assert codes(GOOD, now=now) == ["breaker.source", "breaker.client", "owner.hours"]
    assert codes(replace(GOOD, obliged=True), now=now) == []


def test_rulings_stand_in_the_order_of_the_rules_with_what_passed() -> None:
    rulings = judge(replace(GOOD, payment=1), POLICY).rulings
    assert [(one.code, one.passed) for one in rulings] == [
        ("source.not_ready", True),
        ("environment.none", True),
        ("function.unknown", True),
        ("function.invalid_input", True),
        ("time.expired", True),
        ("time.too_short", True),
        ("payment.below_floor", False),
    ]
    assert rulings[-1].setting == 'admission.min_payment = "0.000000000000000001"'


def test_deny_lists_hold_whatever_the_case_of_the_address() -> None:
    assert codes(GOOD, replace(POLICY, deny_sources=frozenset({Address(SOURCE.lower())}))) == ["list.denied"]
    assert codes(GOOD, replace(POLICY, deny_clients=frozenset({Address(CLIENT.upper())}))) == ["list.denied"]
    assert codes(GOOD, replace(POLICY, deny_clients=frozenset({OTHER}))) == []


def test_allow_lists_admit_only_what_they_name() -> None:
    assert codes(GOOD, replace(POLICY, allow_sources=frozenset({OTHER}))) == ["list.not_allowed"]
    assert codes(GOOD, replace(POLICY, allow_sources=frozenset({OTHER, SOURCE}))) == []
    assert codes(GOOD, replace(POLICY, allow_clients=frozenset({OTHER}))) == ["list.not_allowed"]
    assert codes(replace(GOOD, client=None), replace(POLICY, allow_clients=frozenset({CLIENT}))) == ["list.not_allowed"]


def test_every_reason_is_kept() -> None:
    policy = replace(POLICY, deny_sources=frozenset({SOURCE}), allow_clients=frozenset({OTHER}))
    bad = replace(
        GOOD,
        source_problem="down",
        environment=None,
        function="none",
        violations=("a",),
        payment=0,
        expiry=int(NOW) + 1,
    )
    assert codes(bad, policy) == [
        "source.not_ready",
        "environment.none",
        "function.unknown",
        "function.invalid_input",
        "time.too_short",
        "payment.below_floor",
        "list.denied",
        "list.not_allowed",
    ]


def test_price_and_lists_do_not_count_for_an_obligation_but_ability_does() -> None:
    policy = replace(POLICY, deny_sources=frozenset({SOURCE}), allow_clients=frozenset({OTHER}))
    assert codes(replace(GOOD, obliged=True, payment=0), policy) == []
    assert codes(replace(GOOD, obliged=True, payment=0, expiry=int(NOW)), policy) == ["time.expired"]


CANDIDATES = st.builds(
    replace,
    st.just(GOOD),
    obliged=st.booleans(),
    payment=st.integers(0, COIN),
    expiry=st.integers(int(NOW) - 100, int(NOW) + 1000),
    environment=st.none() | st.sampled_from(Environment),
    function=st.sampled_from(["generate", "other"]),
    functions=st.none() | st.frozensets(st.sampled_from(["generate", "embed"])),
    violations=st.lists(st.text(), max_size=8).map(tuple),
    source_problem=st.sampled_from(["", "down"]),
    client=st.none() | st.sampled_from([CLIENT, OTHER]),
)


@given(CANDIDATES)
def test_the_verdict_is_exactly_what_each_rule_says_alone(candidate: Candidate) -> None:
    policy = replace(POLICY, deny_clients=frozenset({OTHER}), allow_sources=frozenset({SOURCE}))
    now = Circumstances(source=OpenBreaker(4, 3, 60))
    alone = [rule(candidate, policy, now) for rule in (ABILITY if candidate.obliged else ABILITY + CHOICE)]
    said = [ruling for ruling in alone if ruling]
    found = judge(candidate, policy, now)
    assert found.rulings == tuple(said)
    assert found.reasons == tuple(Reason(one.code, one.text) for one in said if not one.passed)
    assert all(one.text and "\n" not in one.code for one in said)


@given(CANDIDATES)
def test_an_obligation_never_has_more_against_it_than_a_choice(candidate: Candidate) -> None:
    free = set(judge(replace(candidate, obliged=False), POLICY).reasons)
    assert set(judge(replace(candidate, obliged=True), POLICY).reasons) <= free
