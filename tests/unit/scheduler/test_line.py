from dataclasses import replace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogpu_provider.domain.admission import Candidate
from ogpu_provider.domain.source import DeliveryMethod, Environment
from ogpu_provider.domain.units import Address
from ogpu_provider.scheduler.circumstances import Circumstances
from ogpu_provider.scheduler.estimate import Estimate
from ogpu_provider.scheduler.line import FADES_S, Line, LinePolicy, worth
from ogpu_provider.scheduler.price import Costs

SOURCE, OTHER = Address("0x" + "aa" * 20), Address("0x" + "bb" * 20)
MANUAL, FIRST = DeliveryMethod.MANUAL_CONFIRMATION, DeliveryMethod.FIRST_RESPONSE


def task(n: int, payment: int, at: float = 0.0, delivery: DeliveryMethod = MANUAL, *, owed: bool = False) -> Candidate:
    return Candidate(
        task=Address(f"0x{n:040x}"),
        source=SOURCE,
        client=None,
        obliged=owed,
        payment=payment,
        expiry=10**6,
        delivery=delivery,
        environment=Environment.CPU,
        function="f",
        functions=None,
        violations=(),
        source_problem="",
        now=at,
    )


NOW = Circumstances(estimate=Estimate(run=10.0))


def order(line: Line, now: float) -> list[int]:
    return [int(each.task, 16) for each in line.order(now)]


def test_a_short_task_that_pays_less_may_be_worth_more_a_second() -> None:
    line = Line(LinePolicy())
    line.join(task(1, 100), Circumstances(estimate=Estimate(run=10.0)))
    line.join(task(2, 60), Circumstances(estimate=Estimate(run=2.0)))
    line.join(task(3, 200), Circumstances(estimate=Estimate(run=10.0), costs=Costs(energy=150)))
    assert order(line, 0) == [2, 1, 3]


def test_a_bid_and_the_chance_to_be_paid_count() -> None:
    assert worth(task(1, 100), NOW) == 10
    assert worth(task(1, 100), replace(NOW, bid=50)) == 5
    assert worth(task(1, 100), replace(NOW, chance=0.25)) == 2.5
    assert worth(task(1, 100), Circumstances()) == 100, "at least a second"


def test_a_first_response_fades_while_it_waits_and_one_to_be_confirmed_does_not() -> None:
    line = Line(LinePolicy(patience=1000))
    line.join(task(1, 150, delivery=FIRST), NOW)
    line.join(task(2, 100), NOW)
    assert order(line, 0) == [1, 2]
    assert order(line, FADES_S) == [2, 1]


def test_what_is_owed_goes_first_and_who_has_waited_long_enough_before_the_dear_ones() -> None:
    line = Line(LinePolicy(patience=60))
    for n, payment, at in ((1, 5, 0.0), (2, 1, 10.0), (3, 900, 50.0), (4, 800, 65.0)):
        line.join(task(n, payment, at), NOW)
    line.join(task(5, 0, 65.0, owed=True), NOW)
    assert order(line, 65) == [5, 1, 3, 4, 2]
    assert order(line, 75) == [5, 1, 2, 3, 4]


def test_looking_again_keeps_the_place_in_time() -> None:
    line = Line(LinePolicy(patience=60))
    line.join(task(1, 5, 0.0), NOW)
    line.join(task(2, 9, 1.0), NOW)
    line.join(task(1, 5, 59.0), NOW)
    assert order(line, 60.5) == [1, 2]
    assert line.patient(SOURCE, Address("0x9"), 60.5) is not None
    assert line.patient(OTHER, Address("0x9"), 60.5) is None
    assert line.patient(SOURCE, task(1, 0).task, 60.5) is None, "nobody is before the first"


def test_a_full_line_keeps_the_most_valuable() -> None:
    line = Line(LinePolicy(limit=2))
    assert line.join(task(1, 50), NOW) is None
    assert line.join(task(2, 70), NOW) is None
    assert line.join(task(3, 10), NOW) == task(3, 0).task, "it is worth the least itself"
    assert line.join(task(4, 60), NOW) == task(1, 0).task
    assert line.join(task(5, 0, owed=True), NOW) == task(4, 0).task
    assert (len(line), order(line, 0)) == (2, [5, 2])


@pytest.mark.parametrize(("limit", "patience"), [(0, 1.0), (1, -1.0)])
def test_a_line_of_nothing_is_refused(limit: int, patience: float) -> None:
    with pytest.raises(ValueError, match="line"):
        LinePolicy(limit, patience)


ARRIVALS = st.lists(st.tuples(st.integers(0, 10**6), st.booleans(), st.floats(0, 5)), min_size=1, max_size=60)


@given(arrivals=ARRIVALS, patience=st.floats(0, 30))
def test_nobody_starves_however_dear_those_are_who_come_later(
    arrivals: list[tuple[int, bool, float]], patience: float
) -> None:
    """One is served a second, and dearer ones keep coming: who is patient no longer is passed by nobody who came later,
    so it waits for no more turns than there are tasks before it."""
    line, now, served = Line(LinePolicy(limit=10**6, patience=patience)), 0.0, []
    came: dict[Address, float] = {}
    for n, (payment, first, gap) in enumerate(arrivals):
        now += gap
        candidate = task(n, payment, now, FIRST if first else MANUAL)
        came[candidate.task] = now
        line.join(candidate, NOW)
        if n % 2:
            served.append((line.order(now)[0].task, now))
            line.leave(served[-1][0])
    while len(line):
        now += 1
        served.append((line.order(now)[0].task, now))
        line.leave(served[-1][0])
    assert sorted(each for each, _ in served) == sorted(came)
    for place, (earlier, at) in enumerate(served):
        passed = [other for other, _ in served[place + 1 :] if came[other] < came[earlier]]
        assert all(at - came[other] < patience for other in passed), "passed by only while it was not yet patient"


@given(arrivals=ARRIVALS, limit=st.integers(1, 20))
def test_the_line_is_never_longer_than_its_limit_and_loses_nobody(
    arrivals: list[tuple[int, bool, float]], limit: int
) -> None:
    line, gone = Line(LinePolicy(limit=limit)), set()
    for n, (payment, first, at) in enumerate(arrivals):
        gone.add(line.join(task(n, payment, at, FIRST if first else MANUAL), NOW))
        assert len(line) <= limit
    left = {each.task for each in line.order(0)}
    assert left | cast(set[Address], gone - {None}) == {task(n, 0).task for n in range(len(arrivals))}


@given(arrivals=ARRIVALS, patience=st.floats(0, 30), at=st.floats(0, 400))
def test_the_first_of_a_source_is_the_first_of_its_in_the_whole_order(
    arrivals: list[tuple[int, bool, float]], patience: float, at: float
) -> None:
    line, now = Line(LinePolicy(limit=20, patience=patience)), 0.0
    sources = (SOURCE, OTHER)
    for n, (payment, first, gap) in enumerate(arrivals):
        now += gap
        made = task(n % 40, payment, now, FIRST if first else MANUAL, owed=n % 17 == 3)
        line.join(replace(made, source=sources[n % 2]), NOW)
        if n % 5 == 4:
            line.leave(task(n - 3, 0).task)
    now += at
    order = line.order(now)
    heads = [next((each for each in order if each.source == source), None) for source in sources]
    found = line.firsts(sources, now)
    expected = sorted((head for head in heads if head), key=lambda each: line._turn(each, now))
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert line._turn(one, now)[0] == line._turn(other, now)[0]
        assert line._turn(one, now)[1] == pytest.approx(line._turn(other, now)[1])
