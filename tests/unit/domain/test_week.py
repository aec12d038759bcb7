from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogpu_provider.domain.week import DAYS, hours, within

MONDAY = datetime(2026, 6, 1)
Moments = list[tuple[str, str]]


def at(day: str, clock: str) -> datetime:
    hour, minute = map(int, clock.split(":"))
    return MONDAY + timedelta(days=DAYS.index(day), hours=hour, minutes=minute)


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("mon-fri 18:00-20:00", [("mon", "18:00"), ("fri", "19:59")], [("mon", "17:59"), ("mon", "20:00")]),
        ("mon-fri 18:00-20:00", [("wed", "19:00")], [("sat", "19:00"), ("sun", "18:00")]),
        ("sat,sun", [("sat", "00:00"), ("sun", "23:59")], [("fri", "23:59"), ("mon", "00:00")]),
        ("22:00-06:00", [("wed", "22:00"), ("thu", "05:59")], [("wed", "21:59"), ("thu", "06:00")]),
        ("fri-mon", [("fri", "12:00"), ("sun", "12:00"), ("mon", "12:00")], [("tue", "12:00"), ("thu", "12:00")]),
        ("fri 22:00-06:00", [("fri", "23:00"), ("sat", "05:00")], [("fri", "05:00"), ("sat", "22:00")]),
        ("sun 22:00-06:00", [("mon", "05:59")], [("sun", "05:59")]),
        ("Mon 08:00-24:00", [("mon", "23:59")], [("tue", "00:00")]),
    ],
)
def test_hours_contain_their_moments(text: str, inside: Moments, outside: Moments) -> None:
    span = hours(text)
    assert [one for one in inside if not span.contain(at(*one))] == []
    assert [one for one in outside if span.contain(at(*one))] == []


@pytest.mark.parametrize(
    "text", ["", "  ", "noon", "mon-", "day 1", "8-9", "10:00-10:00", "25:00-26:00", "10:61-11:00"]
)
def test_what_is_no_span_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        hours(text)


@given(st.integers(0, 1439), st.integers(0, 1439), st.datetimes())
def test_a_span_and_its_complement_share_no_moment_and_leave_none_out(begin: int, end: int, moment: datetime) -> None:
    if begin == end:
        return
    first, last = (f"{minute // 60:02d}:{minute % 60:02d}" for minute in (begin, end))
    assert hours(f"{first}-{last}").contain(moment) != hours(f"{last}-{first}").contain(moment)


def test_the_first_span_that_contains_a_moment_is_named() -> None:
    spans = [hours("sat"), hours("sat 10:00-11:00")]
    assert within(spans, at("sat", "10:30")) is spans[0]
    assert within(spans, at("mon", "10:30")) is None
