import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogpu_provider.domain.units import Address
from ogpu_provider.scheduler.breakers import Breaker, BreakerPolicy, Breakers

POLICY = BreakerPolicy(limit=3, half_life=100)
SOURCE = Address("0x" + "11" * 20)


def struck(*times: float) -> Breaker:
    breaker = Breaker()
    for at in times:
        breaker = breaker.struck(at, POLICY)
    return breaker


def test_three_failures_at_once_open_it_and_two_do_not() -> None:
    assert not struck(0, 0).is_open(0, POLICY)
    assert struck(0, 0, 0).is_open(0, POLICY)


def test_failures_far_apart_do_not_add_up() -> None:
    assert not struck(0, 200, 400, 600, 800).is_open(800, POLICY)


def test_it_closes_when_half_of_the_limit_is_left_and_says_when() -> None:
    breaker = struck(0, 0, 0)
    assert breaker.closes_at(POLICY) == pytest.approx(100)
    assert breaker.is_open(99, POLICY)
    assert not breaker.is_open(101, POLICY)


def test_one_new_failure_after_that_does_not_open_it_again() -> None:
    assert not struck(0, 0, 0, 150).is_open(150, POLICY)
    assert struck(0, 0, 0, 101, 101).is_open(101, POLICY)


def test_a_limit_of_0_never_opens() -> None:
    breaker = Breaker()
    for _ in range(100):
        breaker = breaker.struck(0, BreakerPolicy(limit=0))
    assert not breaker.is_open(0, BreakerPolicy(limit=0))


@given(st.lists(st.floats(0, 1000), min_size=1, max_size=30))
def test_an_open_breaker_is_closed_at_the_time_it_names(times: list[float]) -> None:
    breaker = struck(*sorted(times))
    assert not breaker.is_open(max(breaker.closes_at(POLICY), max(times)) + 1, POLICY)


def test_breakers_forget_what_has_decayed() -> None:
    breakers = Breakers(POLICY)
    breakers.strike(SOURCE, 0)
    assert breakers.forget(10) == []
    assert list(breakers.all()) == [SOURCE]
    assert breakers.forget(10_000) == [SOURCE]
    assert breakers.all() == {}


@given(st.lists(st.floats(0, 1000), min_size=1, max_size=30))
def test_a_restored_breaker_is_the_one_that_was(times: list[float]) -> None:
    breakers = Breakers(POLICY)
    breakers.restore(SOURCE, sorted(times))
    assert breakers.get(SOURCE) == struck(*sorted(times))
