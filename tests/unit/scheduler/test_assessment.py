from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction

from ogpu_provider.domain.admission import Candidate
from ogpu_provider.domain.intent import Effect
from ogpu_provider.domain.learnt import Fact, Key, Knowledge
from ogpu_provider.domain.source import DeliveryMethod, Environment
from ogpu_provider.domain.task import Task, TaskState
from ogpu_provider.domain.units import COIN, Address
from ogpu_provider.domain.week import hours
from ogpu_provider.scheduler.assessment import Assessment, AssessmentPolicy
from ogpu_provider.scheduler.bids import Auction, strategy
from ogpu_provider.scheduler.breakers import BreakerPolicy
from ogpu_provider.scheduler.price import Tariff, Terms

SOURCE = Address("0x" + "ab" * 20)
CLIENT = Address("0x" + "cd" * 20)
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC).timestamp()  # a Monday
CANDIDATE = Candidate(
    task=Address("0x" + "11" * 20),
    source=SOURCE,
    client=CLIENT,
    obliged=False,
    payment=COIN,
    expiry=int(NOON) + 600,
    delivery=DeliveryMethod.FIRST_RESPONSE,
    environment=Environment.CPU,
    function="work",
    functions=frozenset({"work"}),
    violations=(),
    source_problem="",
    now=NOON,
)
TASK = Task(CANDIDATE.task, SOURCE, TaskState.SEEN, 1, NOON, updated_at=NOON)
POLICY = AssessmentPolicy(quantile=0.5, pin=1, chain=2, breakers=BreakerPolicy(2, 100), zone=UTC)


def assessment(knowledge: Knowledge | None = None, policy: AssessmentPolicy = POLICY) -> Assessment:
    return Assessment(policy, knowledge or Knowledge())


def learnt() -> Knowledge:
    knowledge = Knowledge()
    for seconds in (10, 20, 90):
        knowledge.add(Key(Fact.RUN, SOURCE, "work"), seconds, at=0)
    knowledge.add(Key(Fact.COLD_START, SOURCE), 30, at=0)
    return knowledge


def test_a_run_is_estimated_at_the_quantile_and_the_start_only_while_the_project_is_down() -> None:
    assert assessment(learnt()).estimate(CANDIDATE).total == 20 + 1 + 2
    assert assessment(learnt()).estimate(replace(CANDIDATE, functions=None)).total == 30 + 20 + 1 + 2
    assert assessment(learnt(), replace(POLICY, quantile=1)).estimate(CANDIDATE).run == 90


def test_a_function_that_never_ran_is_not_guessed_at() -> None:
    estimate = assessment().estimate(CANDIDATE)
    assert estimate.run is None
    assert "run not known yet" in str(estimate)


def test_gas_is_known_once_both_transactions_were_paid() -> None:
    knowledge = Knowledge()
    knowledge.add(Key(Fact.GAS, Effect.ATTEMPT), 1000, at=0)
    assert assessment(knowledge).gas() is None
    knowledge.add(Key(Fact.GAS, Effect.SUBMIT_RESPONSE), 5000, at=0)
    assert assessment(knowledge).gas() == 6000
    assert assessment(knowledge).circumstances(CANDIDATE).costs.total == 6000


def test_a_run_costs_the_rate_for_its_time() -> None:
    policy = replace(POLICY, terms=Terms(hour_rate=3600))
    assert assessment(learnt(), policy).circumstances(CANDIDATE).costs.rate == 20


def test_failures_of_ours_open_the_breaker_of_the_source() -> None:
    part = assessment()
    failed = replace(TASK, state=TaskState.FAILED)
    part.moved(failed, TaskState.EXECUTING, CLIENT)
    assert part.circumstances(CANDIDATE).source is None
    part.moved(failed, TaskState.ATTEMPTED, CLIENT)
    found = part.circumstances(CANDIDATE).source
    assert found is not None
    assert (found.weight, found.limit) == (2, 2)
    assert part.circumstances(replace(CANDIDATE, now=NOON + found.closes_in + 1)).source is None


def test_work_left_unpaid_opens_the_breaker_of_the_client_and_what_was_never_begun_does_not() -> None:
    part = assessment()
    for _ in range(3):
        part.moved(replace(TASK, state=TaskState.CANCELED), TaskState.SEEN, CLIENT)
        part.moved(replace(TASK, state=TaskState.DECLINED), TaskState.SEEN, CLIENT)
        part.moved(replace(TASK, state=TaskState.LOST), TaskState.SUBMITTED, CLIENT)
    assert part.circumstances(CANDIDATE).client is None
    for _ in range(2):
        part.moved(replace(TASK, state=TaskState.EXPIRED), TaskState.RESPONDED, CLIENT)
    assert part.circumstances(CANDIDATE).client is not None
    assert part.circumstances(CANDIDATE).source is None


def test_outside_the_owners_hours_it_says_which_they_are() -> None:
    policy = replace(POLICY, hours=(hours("sat,sun"), hours("mon 18:00-22:00")))
    assert assessment(None, policy).circumstances(CANDIDATE).closed == "sat,sun, mon 18:00-22:00"
    assert assessment(None, policy).circumstances(replace(CANDIDATE, now=NOON + 7 * 3600)).closed == ""
    assert assessment().circumstances(CANDIDATE).closed == ""


def test_a_restart_forgets_no_failure_that_still_weighs_something() -> None:
    knowledge, part = Knowledge(), assessment()
    failed = replace(TASK, state=TaskState.FAILED)
    for at in (NOON - 5, NOON):
        strike = part.moved(replace(failed, updated_at=at), TaskState.EXECUTING, CLIENT)
        assert strike is not None
        knowledge.add(strike.key, strike.at, at=strike.at)
    unpaid = part.moved(replace(TASK, state=TaskState.EXPIRED, updated_at=NOON - 5000), TaskState.RESPONDED, CLIENT)
    assert unpaid is not None
    knowledge.add(unpaid.key, unpaid.at, at=unpaid.at)
    again = assessment(knowledge)
    assert again.restore(NOON) == [Key(Fact.UNPAID, CLIENT)]
    assert again.circumstances(CANDIDATE).source == part.circumstances(CANDIDATE).source
    assert again.sources.all() == part.sources.all()
    assert again.clients.all() == {}
    assert again.forget(NOON + 5000) == [Key(Fact.FAILED, SOURCE)]


def test_what_is_left_to_pull_counts_at_the_bandwidth_that_was_measured() -> None:
    knowledge = learnt()
    down = replace(CANDIDATE, functions=None, pull_left=600 << 20)
    unknown = assessment(knowledge).estimate(down)
    assert (unknown.pull, unknown.unmeasured) == (0, 600 << 20)
    assert "pull of 600 MiB not known yet" in str(unknown)
    for rate in (10 << 20, 20 << 20):
        knowledge.add(Key(Fact.PULL_RATE), rate, at=0)
    estimate = assessment(knowledge).estimate(down)
    assert (estimate.pull, estimate.cold, estimate.total) == (40, 30, 40 + 30 + 20 + 1 + 2)
    assert str(estimate) == "pull 40, start 30.0, run 20.0, pin 1.0, blocks 2.0 s"
    assert assessment(knowledge).estimate(replace(down, functions=frozenset({"work"}))).pull == 0


def test_publishing_counts_as_it_was_measured() -> None:
    knowledge = learnt()
    knowledge.add(Key(Fact.PIN), 0.25, at=0)
    assert assessment(knowledge).estimate(CANDIDATE).pin == 0.25


def test_energy_counts_as_it_was_metered_at_the_price_of_the_moment() -> None:
    knowledge = learnt()
    knowledge.add(Key(Fact.ENERGY, SOURCE, "work"), 3_600_000, at=0)
    tariff = Tariff(Fraction("0.30"), ((hours("mon 12:00-13:00"), Fraction("0.20")),))
    policy = replace(POLICY, terms=Terms(tariff=tariff, coin_price=Fraction(1), watts=1e6))
    assert assessment(knowledge, policy).circumstances(CANDIDATE).costs.energy == COIN // 5
    later = replace(CANDIDATE, now=NOON + 3600)
    assert assessment(knowledge, policy).circumstances(later).costs.energy == 3 * COIN // 10
    dearer = Assessment(policy, knowledge, coin_price=lambda: Fraction(2))
    assert dearer.circumstances(CANDIDATE).costs.energy == COIN // 10
    assert Assessment(policy, knowledge, coin_price=lambda: None).circumstances(CANDIDATE).costs.energy == 0


def test_who_is_at_the_machine_is_a_circumstance() -> None:
    assert Assessment(POLICY, Knowledge(), in_use=lambda: "session 2").circumstances(CANDIDATE).in_use == "session 2"


MANUAL = replace(CANDIDATE, delivery=DeliveryMethod.MANUAL_CONFIRMATION)


def test_only_where_the_client_confirms_is_there_a_bid() -> None:
    part = assessment(None, replace(POLICY, bid=strategy("percentage:80")))
    assert part.circumstances(CANDIDATE).bid is None
    assert part.circumstances(replace(MANUAL, obliged=True)).bid is None
    assert part.circumstances(MANUAL).bid == 8 * COIN // 10
    assert assessment().circumstances(MANUAL).bid == COIN, "unless he says otherwise, the payment"


def test_a_bid_knows_costs_wins_and_what_others_ask_and_a_source_may_have_its_own() -> None:
    knowledge, seen = learnt(), []

    def watch(auction: Auction) -> int:
        seen.append(auction)
        return 7

    for won in (1, 0, 0, 1):
        knowledge.add(Key(Fact.WON, SOURCE), won, at=0)
    policy = replace(POLICY, terms=Terms(hour_rate=3600), bid=strategy("fixed:0"), bid_by_source={SOURCE: watch})
    part = Assessment(policy, knowledge, lowest=lambda task: 500 if task == MANUAL.task else None)
    assert part.circumstances(MANUAL).bid == 7
    assert seen == [Auction(COIN, 20, won=2, bids=4, lowest=500)]
