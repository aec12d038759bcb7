"""The past replayed: each task ends once, money adds up, and no card works more than all the time."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ogpu_provider.domain.facts import TaskStatus
from ogpu_provider.domain.history import PastTask
from ogpu_provider.domain.learnt import Fact, Key, Knowledge, Learnt
from ogpu_provider.domain.resources import Device, Host
from ogpu_provider.domain.source import DeliveryMethod, Environment, SourceParams, SourceStatus
from ogpu_provider.domain.units import COIN, Address
from ogpu_provider.domain.verdict import Ruling
from ogpu_provider.domain.week import hours
from ogpu_provider.scheduler.assessment import Assessment, AssessmentPolicy
from ogpu_provider.scheduler.breakers import BreakerPolicy
from ogpu_provider.scheduler.competition import Competition
from ogpu_provider.scheduler.course import Course
from ogpu_provider.scheduler.line import LinePolicy
from ogpu_provider.scheduler.price import Tariff, Terms
from ogpu_provider.scheduler.replay import Plan, Replay
from ogpu_provider.scheduler.requirements import SlotLimits
from ogpu_provider.scheduler.rules import AdmissionPolicy
from ogpu_provider.scheduler.runs import Run
from ogpu_provider.scheduler.seats import Stand

BEGIN = 1_700_000_000
SOURCES = tuple(Address(f"0x{number:040x}") for number in range(1, 5))
CLIENT = Address("0x" + "c" * 40)
RUN = 10.0


def params(source: Address, delivery: DeliveryMethod = DeliveryMethod.FIRST_RESPONSE) -> SourceParams:
    every = frozenset(Environment)
    return SourceParams(source, CLIENT, "", every, 0, 0, 3600, delivery, 0, SourceStatus.ACTIVE)


def host(cards: int = 2, slots: int = 4) -> Host:
    return Host(slots, tuple(Device(f"gpu{n}", Environment.NVIDIA, "X", 24 << 30) for n in range(cards)))


def cpu(source: Address) -> Stand:
    return Stand(params(source), Environment.CPU)


def gpu(source: Address) -> Stand:
    return Stand(params(source), Environment.NVIDIA, 1)


def task(number: int, at: int, *, source: Address = SOURCES[0], pays: int = COIN, lasts: int = 600) -> PastTask:
    return PastTask(Address(f"0x{number:040x}"), source, at, BEGIN + at, pays, BEGIN + at + lasts)


def replayed(
    tasks: Sequence[PastTask], stands: dict[Address, Stand], judged: AssessmentPolicy | None = None, **changes: object
) -> Replay:
    plan = replace(Plan(host(), AdmissionPolicy(), Course(), stands), **changes)  # type: ignore[arg-type]
    replay = Replay(plan, Assessment(judged or AssessmentPolicy(), Knowledge()), lambda _: Run(RUN), BEGIN)
    replay.arrive(tasks)
    replay.finish(BEGIN + 1000.0)
    return replay


def codes(replay: Replay) -> dict[str, int]:
    return {group.code: group.tasks for group in replay.takings.declined.groups()}


def test_one_task_is_paid_and_its_card_is_busy_while_it_runs() -> None:
    replay = replayed([task(1, 100)], {SOURCES[0]: gpu(SOURCES[0])})
    assert (replay.takings.all.accepted, replay.takings.all.income) == (1, COIN)
    assert replay.usage.busy == {"gpu0": RUN, "gpu1": 0.0}
    assert (replay.usage.share(RUN), replay.usage.slot_seconds) == (RUN / 1000, RUN)


def test_a_second_task_waits_for_the_first_ones_slot_and_a_third_is_too_late() -> None:
    limits = AdmissionPolicy(min_time_left=0.0)
    three = [task(1, 0), task(2, 1, lasts=28), task(3, 2)]
    replay = replayed(three, {SOURCES[0]: gpu(SOURCES[0])}, policy=limits)
    assert (replay.takings.waited, replay.takings.all.paid.tasks, codes(replay)) == (2, 2, {"capacity.none": 1})
    assert replay.usage.busy["gpu0"] == 2 * RUN
    more = replace(limits, slots=SlotLimits(gpu_per_device=3))
    assert replayed(three, {SOURCES[0]: gpu(SOURCES[0])}, policy=more).takings.all.paid.tasks == 3


def test_what_waits_gets_in_by_its_worth_and_by_its_patience_and_the_line_is_bounded() -> None:
    stands = {SOURCES[0]: gpu(SOURCES[0])}
    limits = AdmissionPolicy(min_time_left=0.0)
    poor, rich = task(2, 1, lasts=32, pays=1), task(3, 1, lasts=32, pays=COIN)
    assert replayed([task(1, 0, pays=0), poor, rich], stands, policy=limits).takings.all.income == COIN
    patient = LinePolicy(patience=5.0)
    first = replace(poor, at=BEGIN + 1), replace(rich, at=BEGIN + 6)
    assert replayed([task(1, 0, pays=0), *first], stands, policy=limits, line=patient).takings.all.income == 1
    bounded = replayed([task(1, 0, pays=0), poor, rich], stands, policy=limits, line=LinePolicy(limit=1))
    assert codes(bounded) == {"capacity.line": 1}
    (group,) = bounded.takings.declined.groups()
    assert (group.worth, group.lines, bounded.takings.all.income) == (1, ["admission.line = 2"], COIN)


def test_an_earlier_answer_of_somebody_else_takes_a_first_response() -> None:
    course = Course(attempt_gas=7, submit_gas=5)
    early, late = replace(task(1, 0), responded_at=BEGIN + 4), replace(task(2, 50), responded_at=BEGIN + 90)
    within_our_last_second = replace(task(3, 100), responded_at=BEGIN + 112)
    replay = replayed([early, late, within_our_last_second], {SOURCES[0]: gpu(SOURCES[0])}, course=course)
    books = replay.takings.all
    assert (books.paid.tasks, books.lost.tasks) == (1, 2)
    assert books.gas == 7 + (7 + 5) + (7 + 5)  # no response is sent where it is known to be late
    assert books.net == COIN - books.gas
    assert replay.usage.busy["gpu0"] == 4 + 10 + 10  # the lease is given back when the other's answer is there


def test_what_was_ours_then_does_not_compete_with_us_and_without_others_all_is_paid() -> None:
    response = Address("0x" + "e" * 40)
    beaten = replace(task(1, 0), responded_at=BEGIN + 4, response=response)
    stands = {SOURCES[0]: gpu(SOURCES[0])}
    for competition in (Competition(ours=frozenset({response})), Competition(others=False)):
        books = replayed([beaten], stands, course=Course(competition)).takings.all
        assert (books.paid.tasks, books.lost.tasks) == (1, 0)


def test_by_hand_a_client_pays_us_only_where_it_paid_anybody_and_we_were_there() -> None:
    stands = {SOURCES[0]: Stand(params(SOURCES[0], DeliveryMethod.MANUAL_CONFIRMATION), Environment.CPU)}
    confirmed = replace(task(1, 0), end=TaskStatus.FINALIZED, ended_at=BEGIN + 300, responded_at=BEGIN + 3)
    too_soon = replace(task(2, 20), end=TaskStatus.FINALIZED, ended_at=BEGIN + 25)
    never = task(3, 40)
    books = replayed([confirmed, too_soon, never], stands).takings.all
    assert (books.paid.tasks, books.lost.tasks, books.unpaid.tasks) == (1, 1, 1)


def test_by_hand_what_was_asked_is_paid_and_not_what_was_offered() -> None:
    stands = {SOURCES[0]: Stand(params(SOURCES[0], DeliveryMethod.MANUAL_CONFIRMATION), Environment.CPU)}
    confirmed = [
        replace(task(n, 50 * n, pays=n * COIN), end=TaskStatus.FINALIZED, ended_at=BEGIN + 900) for n in (1, 2)
    ]
    judged = AssessmentPolicy(bid=lambda auction: auction.payment // 4)
    books = replayed(confirmed, stands, judged=judged).takings.all
    assert (books.paid.worth, books.income) == (3 * COIN, 3 * COIN // 4)


def test_the_owners_hours_and_the_tariffs_are_those_of_the_moment() -> None:
    night = hours("22:00-06:00")
    day = BEGIN - BEGIN % 86_400 + 86_400 - BEGIN
    moments = [day + 5 * 3600 + 3599, day + 6 * 3600, day + 22 * 3600 - 1, day + 22 * 3600]
    tasks = [task(number, at) for number, at in enumerate(moments)]
    judged = AssessmentPolicy(
        terms=Terms(Tariff(Fraction(1), ((night, Fraction(2)),)), Fraction(1), watts=360_000.0), zone=UTC
    )
    books = replayed(tasks, {SOURCES[0]: cpu(SOURCES[0])}, judged=judged).takings.all
    assert books.energy == (2 + 1 + 1 + 2) * COIN  # each run takes a kWh, at the price of the hour it begins in
    open_at_night = replace(judged, hours=(night,))
    assert codes(replayed(tasks, {SOURCES[0]: cpu(SOURCES[0])}, judged=open_at_night)) == {"owner.hours": 2}


def test_refused_and_unreadable_sources_are_declined_with_their_worth() -> None:
    no = Ruling("source.not_served", False, "not served", "sources.serve with 0x2")
    stands = {SOURCES[0]: gpu(SOURCES[0]), SOURCES[1]: replace(cpu(SOURCES[1]), refusal=no)}
    replay = replayed([task(1, 0, source=SOURCES[1]), task(2, 0, source=SOURCES[2])], stands)
    assert codes(replay) == {"source.not_served": 1, "source.unreadable": 1}
    assert replay.takings.declined.worth == 2 * COIN
    assert [group.lines for group in replay.takings.declined.groups()] == [["sources.serve with 0x2"], []]


def test_devices_change_hands_only_where_the_operator_lets_them() -> None:
    stands = {source: gpu(source) for source in SOURCES[:2]}
    tasks = [task(1, 0), task(2, 300, source=SOURCES[1]), task(3, 600)]
    assert codes(replayed(tasks, stands, host=host(cards=1))) == {"capacity.devices": 1}
    moved = replayed(tasks, stands, host=host(cards=1), idle_after=60.0)
    assert (moved.takings.all.paid.tasks, moved.usage.busy["gpu0"]) == (3, 3 * RUN)
    assert codes(replayed(tasks, stands, host=host(cards=1), idle_after=500.0)) == {"capacity.devices": 1}


def test_a_run_longer_than_there_is_time_fails_and_costs_its_attempt() -> None:
    course = Course(attempt_gas=3, submit_gas=9)
    plan = Plan(host(), AdmissionPolicy(), course, {SOURCES[0]: cpu(SOURCES[0])})
    replay = Replay(plan, Assessment(AssessmentPolicy(), Knowledge()), lambda _: Run(1000.0), BEGIN)
    replay.arrive([task(1, 0, lasts=60)])
    replay.finish(BEGIN + 100)
    assert (replay.takings.all.failed.tasks, replay.takings.all.gas, replay.usage.slot_seconds) == (1, 3, 50.0)
    assert replay.usage.slot_share == pytest.approx(50 / 100 / 4)


def test_energy_and_rate_are_of_the_seconds_that_ran() -> None:
    judged = AssessmentPolicy(terms=Terms(Tariff(Fraction("0.36")), Fraction("0.1"), watts=1000.0, hour_rate=3600))
    books = replayed([task(1, 0)], {SOURCES[0]: cpu(SOURCES[0])}, judged=judged).takings.all
    assert books.energy == COIN // 100  # 10 kJ at 0.36 a kWh are 0.001 of money, and a coin costs 0.1
    assert (books.rate, books.net) == (10, COIN - books.energy)


def by_hand(source: Address) -> Stand:
    return Stand(params(source, DeliveryMethod.MANUAL_CONFIRMATION), Environment.CPU)


def test_a_task_that_its_client_took_back_is_gone_if_no_attempt_of_ours_could_have_been_there_before() -> None:
    course = Course(attempt_gas=3, submit_gas=9)

    def taken_back(number: int, at: int, after: int) -> PastTask:
        return replace(task(number, at), end=TaskStatus.CANCELED, ended_at=BEGIN + at + after)

    tasks = [taken_back(1, 0, 2), taken_back(2, 100, 3), taken_back(3, 200, 500)]
    stands = {SOURCES[0]: cpu(SOURCES[0])}
    replay = replayed(tasks, stands, course=course)
    books = replay.takings.all
    assert (books.unpaid.tasks, books.paid.tasks) == (1, 2)  # a block takes 2 s; what was attempted stays
    assert books.gas == 3 + (3 + 9) + (3 + 9)
    assert replay.usage.slot_seconds == 2 + RUN + RUN
    alone = replayed(tasks, stands, course=replace(course, competition=Competition(others=False)))
    assert alone.takings.all.paid.tasks == 3


def test_a_client_that_leaves_work_unpaid_is_left_alone_until_that_has_decayed() -> None:
    """Three are known to be unpaid at 610, 710 and 810 s; what is published by then was taken before."""
    never = [task(number, 10 + 100 * number) for number in range(3)]
    confirmed = [
        replace(task(10 + number, at), end=TaskStatus.FINALIZED, ended_at=BEGIN + at + 300)
        for number, at in enumerate((809, 810, 1800, 2610, 2611))
    ]
    judged = AssessmentPolicy(breakers=BreakerPolicy(limit=2.5, half_life=1500.0))
    replay = replayed([*never, *confirmed], {SOURCES[0]: by_hand(SOURCES[0])}, judged=judged)
    weight = [2.0 ** (-200 / 1500) + 2.0 ** (-100 / 1500) + 1]
    weight += [weight[0] * 2.0 ** (-wait / 1500) for wait in (990, 1800)]
    assert weight[0] > 2.5
    assert weight[1] > 1.25 > weight[2]  # open until half of the limit
    assert (codes(replay), replay.takings.all.unpaid.tasks) == ({"breaker.client": 2}, 3)
    (group,) = replay.takings.declined.groups()
    assert group.lines == ["breakers.limit = 3"]
    off = replace(judged, breakers=BreakerPolicy(limit=0))
    assert codes(replayed([*never, *confirmed], {SOURCES[0]: by_hand(SOURCES[0])}, judged=off)) == {}


def test_runs_that_did_not_end_in_time_count_against_their_source_alone() -> None:
    plan = Plan(host(), AdmissionPolicy(), Course(), {source: cpu(source) for source in SOURCES[:2]})
    judged = AssessmentPolicy(breakers=BreakerPolicy(limit=1.5))
    slow = SOURCES[0]
    replay = Replay(
        plan,
        Assessment(judged, Knowledge()),
        lambda one: Run(1000.0 if one.source == slow else RUN),
        BEGIN,
    )
    replay.arrive([task(2 * n + place, 100 * n, source=SOURCES[place], lasts=60) for n in range(5) for place in (0, 1)])
    replay.finish(BEGIN + 1000.0)
    books = replay.takings.by_source
    assert (books[slow].failed.tasks, books[slow].declined.tasks) == (2, 3)
    assert codes(replay) == {"breaker.source": 3}
    assert books[SOURCES[1]].paid.tasks == 5


def test_what_waits_while_a_breaker_opens_is_refused_by_it() -> None:
    """The run that fails is the last that its source is given: the one behind it looks when the slot is free."""
    plan = Plan(host(), AdmissionPolicy(), Course(), {SOURCES[0]: gpu(SOURCES[0])})
    judged = AssessmentPolicy(breakers=BreakerPolicy(limit=1.0))
    replay = Replay(plan, Assessment(judged, Knowledge()), lambda _: Run(1000.0), BEGIN)
    replay.arrive([task(1, 0, lasts=60), task(2, 1, lasts=5000)])
    replay.finish(BEGIN + 1000.0)
    assert (replay.takings.waited, codes(replay)) == (1, {"breaker.source": 1})


TASKS = st.lists(
    st.builds(
        lambda gap, source, pays, lasts, attempted, responded, end: (
            gap,
            source,
            pays,
            lasts,
            attempted,
            responded,
            end,
        ),
        st.integers(0, 30),
        st.sampled_from(SOURCES),
        st.integers(0, 5).map(lambda n: n * COIN // 10),
        st.integers(1, 200),
        st.none() | st.integers(0, 20),
        st.none() | st.integers(0, 60),
        st.sampled_from([None, TaskStatus.CANCELED, TaskStatus.FINALIZED]),
    ),
    max_size=60,
)


def past(drawn: Sequence[tuple[int, Address, int, int, int | None, int | None, TaskStatus | None]]) -> list[PastTask]:
    found, at = [], 0
    for number, (gap, source, pays, lasts, attempted, responded, end) in enumerate(drawn):
        at += gap
        one = task(number, at, source=source, pays=pays, lasts=lasts)
        found.append(
            replace(
                one,
                attempted_at=None if attempted is None else one.at + attempted,
                responded_at=None if responded is None else one.at + responded,
                ended_at=None if end is None else one.at + (responded or 0),
                end=end,
            )
        )
    return found


STANDS = {
    SOURCES[0]: gpu(SOURCES[0]),
    SOURCES[1]: gpu(SOURCES[1]),
    SOURCES[2]: Stand(params(SOURCES[2], DeliveryMethod.MANUAL_CONFIRMATION), Environment.CPU),
    SOURCES[3]: replace(gpu(SOURCES[3]), problem="broken"),
}


@settings(deadline=None)
@given(TASKS, st.integers(1, 3), st.integers(1, 4), st.sampled_from([None, 20.0]), st.booleans())
def test_whatever_the_past_each_task_ends_once_and_the_sums_hold(
    drawn: list[tuple[int, Address, int, int, int | None, int | None, TaskStatus | None]],
    cards: int,
    slots: int,
    idle_after: float | None,
    others: bool,
) -> None:
    tasks = past(drawn)
    course = Course(Competition(others), attempt_gas=11, submit_gas=13)
    policy = AdmissionPolicy(min_payment=COIN // 10)
    replay = replayed(tasks, STANDS, host=host(cards, slots), course=course, policy=policy, idle_after=idle_after)
    books = replay.takings.all
    assert books.published.tasks == len(tasks) == books.accepted + books.declined.tasks
    ends = (books.paid, books.unpaid, books.lost, books.failed, books.declined)
    assert books.published.worth == sum(one.payment for one in tasks) == sum(end.worth for end in ends)
    assert books.net == books.paid.worth - books.gas - books.energy
    assert 11 * books.accepted <= books.gas <= 24 * books.accepted
    assert books.declined.tasks == replay.takings.declined.tasks
    assert others or books.lost.tasks == books.unpaid.tasks == 0
    assert all(0 <= busy <= replay.usage.span for busy in replay.usage.busy.values())
    assert 0 <= replay.usage.slot_share <= 1
    assert replay.usage.most <= slots
    by_source = replay.takings.by_source.values()
    assert sum(one.net for one in by_source) == books.net
    assert sum(one.accepted for one in by_source) == books.accepted


@settings(deadline=None)
@given(TASKS, st.integers(1, 4))
def test_with_a_slot_for_each_task_none_is_missed_and_with_fewer_no_more_are_taken(
    drawn: list[tuple[int, Address, int, int, int | None, int | None, TaskStatus | None]], slots: int
) -> None:
    """All tasks run equally long and pay alike, and nothing but room keeps one out."""
    tasks = [replace(one, payment=COIN, expiry=one.at + 10_000) for one in past(drawn)]
    stands = {source: cpu(source) for source in SOURCES}
    course = Course(Competition(others=False))

    def accepted(count: int) -> int:
        policy = AdmissionPolicy(slots=SlotLimits(cpu_per_source=count))
        return replayed(tasks, stands, host=host(0, count), course=course, policy=policy).takings.all.accepted

    assert accepted(slots) <= accepted(len(tasks) + 1) == len(tasks)


@settings(deadline=None)
@given(TASKS)
def test_more_cards_never_take_less_where_each_source_wants_one(
    drawn: list[tuple[int, Address, int, int, int | None, int | None, TaskStatus | None]],
) -> None:
    tasks = past(drawn)
    stands = {source: gpu(source) for source in SOURCES}
    course = Course(Competition(others=False))
    taken = [replayed(tasks, stands, host=host(cards, 16), course=course).takings.all.accepted for cards in range(5)]
    assert taken == sorted(taken)


def test_the_same_past_gives_the_same_answer_whatever_the_portions() -> None:
    tasks = [task(number, number // 2, source=SOURCES[number % 3]) for number in range(200)]
    whole = replayed(tasks, STANDS)
    plan = Plan(host(), AdmissionPolicy(), Course(), STANDS)
    bits = Replay(plan, Assessment(AssessmentPolicy(), Knowledge()), lambda _: Run(RUN), BEGIN)
    for start in range(0, 200, 7):
        bits.arrive(tasks[start : start + 7])
    bits.finish(BEGIN + 1000.0)
    assert (bits.takings.all, bits.usage.busy) == (whole.takings.all, whole.usage.busy)


def test_the_live_estimate_declines_what_the_learnt_run_does_not_fit() -> None:
    knowledge = Knowledge([Learnt(Key(Fact.RUN, SOURCES[0], ""), 1, 100.0, (100.0,))])
    plan = Plan(host(), AdmissionPolicy(), Course(), {SOURCES[0]: gpu(SOURCES[0])})
    replay = Replay(plan, Assessment(AssessmentPolicy(), knowledge), lambda _: Run(RUN), BEGIN)
    replay.arrive([task(1, 0, lasts=80), task(2, 0, lasts=200)])
    replay.finish(BEGIN + 1000.0)
    assert (codes(replay), replay.takings.all.paid.tasks) == ({"time.too_short": 1}, 1)
