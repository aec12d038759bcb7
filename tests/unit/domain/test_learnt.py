import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogpu_provider.domain.learnt import KEPT, Fact, Key, Knowledge, Learnt

RUN = Key(Fact.RUN, "0x50", "multiply")
SAMPLES = st.lists(st.floats(0, 1e9), min_size=1, max_size=KEPT * 2)


def learnt(samples: list[float]) -> Learnt:
    found = Learnt(RUN)
    for at, value in enumerate(samples):
        found = found.with_sample(value, at=at)
    return found


def test_nothing_is_known_before_the_first_sample() -> None:
    knowledge = Knowledge()
    assert knowledge.quantile(0.9, *vars_of(RUN)) is None
    assert knowledge.highest(*vars_of(RUN)) is None
    knowledge.add(RUN, 2.0, at=1.0)
    assert knowledge.quantile(0.9, *vars_of(RUN)) == 2.0
    assert knowledge.highest(Fact.RUN, "0x50", "other") is None


def vars_of(key: Key) -> tuple[Fact, str, str]:
    return key.fact, key.subject, key.aspect


def test_quantiles_of_ten_runs() -> None:
    found = learnt([float(n) for n in range(10, 0, -1)])
    assert [found.quantile(q) for q in (0.0, 0.1, 0.5, 0.9, 0.95, 1.0)] == [1, 1, 5, 9, 10, 10]


@given(SAMPLES, st.floats(0, 1))
def test_a_quantile_is_a_sample_that_the_share_does_not_exceed(samples: list[float], q: float) -> None:
    value = learnt(samples).quantile(q)
    recent = samples[-KEPT:]
    assert value in recent
    assert sum(sample <= value for sample in recent) >= q * len(recent) - 1e-9


@given(SAMPLES)
def test_the_highest_is_never_forgotten_and_the_recent_are_the_last(samples: list[float]) -> None:
    found = learnt(samples)
    assert (found.samples, found.highest, found.recent) == (len(samples), max(samples), tuple(samples[-KEPT:]))


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf])
def test_what_cannot_have_been_measured_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="no measurement"):
        learnt([]).with_sample(value, at=0.0)


def test_a_quantile_is_a_share() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        learnt([1.0]).quantile(90)
