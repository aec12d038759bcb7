import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogpu_provider.domain.units import Address
from ogpu_provider.scheduler.meter import Meter

A, B = Address("0x0a"), Address("0x0b")
CARD = frozenset({"g0"})


def metered(meter: Meter, *readings: tuple[float, float]) -> dict[Address, float]:
    found: dict[Address, float] = {}
    for at, energy in readings:
        found |= meter.read(at, {"g0": energy})
    return found


def test_a_run_alone_gets_what_the_card_drew_in_its_time() -> None:
    meter = Meter()
    meter.read(0, {"g0": 1000})
    meter.begin(A, CARD, 0)
    meter.read(2, {"g0": 1600})
    meter.end(A, 4, done=True)
    assert metered(meter, (4, 2200)) == {A: 1200}
    assert not meter.running


def test_of_a_span_that_it_had_in_part_it_gets_a_part() -> None:
    meter = Meter()
    meter.read(0, {"g0": 0})
    meter.begin(A, CARD, 1)
    meter.end(A, 2, done=True)
    assert metered(meter, (4, 400)) == {A: 100}


def test_two_at_once_share() -> None:
    meter = Meter()
    meter.read(0, {"g0": 0})
    meter.begin(A, CARD, 0)
    meter.begin(B, CARD, 0)
    meter.end(A, 2, done=True)
    meter.end(B, 1, done=True)
    found = metered(meter, (2, 300))
    assert found == {A: pytest.approx(200), B: pytest.approx(100)}


def test_of_two_cards_both_count() -> None:
    meter = Meter()
    meter.read(0, {"g0": 0, "g1": 50})
    meter.begin(A, frozenset({"g0", "g1"}), 0)
    meter.end(A, 1, done=True)
    assert meter.read(1, {"g0": 10, "g1": 80}) == {A: 40}


def test_what_failed_says_nothing_and_neither_does_a_counter_that_began_anew() -> None:
    meter = Meter()
    meter.read(0, {"g0": 1000})
    meter.begin(A, CARD, 0)
    meter.end(A, 1, done=False)
    assert metered(meter, (1, 2000)) == {}
    meter.begin(B, CARD, 1)
    meter.end(B, 2, done=True)
    assert metered(meter, (2, 5)) == {}, "the driver was loaded anew"


def test_a_card_that_tells_no_energy_meters_nothing() -> None:
    meter = Meter()
    meter.begin(A, CARD, 0)
    meter.end(A, 1, done=True)
    assert meter.read(2, {}) == {}
    assert not meter.running


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 10)), min_size=1, max_size=8), st.floats(0, 1e6))
def test_no_more_is_given_out_than_was_drawn(spans: list[tuple[float, float]], joules: float) -> None:
    meter = Meter()
    meter.read(0, {"g0": 0})
    for n, (begin, length) in enumerate(spans):
        task = Address(f"0x{n}")
        meter.begin(task, CARD, begin)
        meter.end(task, min(20.0, begin + length), done=True)
    found = metered(meter, (10, joules / 2), (20, joules))
    assert sum(found.values()) <= joules * (1 + 1e-9)
