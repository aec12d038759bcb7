"""What is told, when, and how often: of each condition its begin, its reminders and its end, in any history."""

import itertools
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogpu_provider.control.alerts import LONGEST, MOST, Alert, AlertPolicy, Alerts
from ogpu_provider.control.diagnosis import Finding, Severity

GAS = Finding("wallet.low", "gas for about 3 tasks", "send coin", Severity.WARNING)
DOWN = Finding("rpc.down", "no endpoint answers", "", Severity.CRITICAL)
PAUSED = Finding("provider.paused", "it is paused")
POLICY = AlertPolicy(after=100, remind=1000)


def alerts(policy: AlertPolicy = POLICY) -> Alerts:
    numbers = itertools.count(1)
    return Alerts(policy, lambda: f"id{next(numbers)}")


def card(name: str) -> Finding:
    return Finding("device.cordoned", f"{name} is cordoned", "", Severity.WARNING, name)


def told(book: Alerts, now: float) -> list[tuple[str, str, bool]]:
    """All that is due, told at once."""
    found = []
    while (alert := book.due(now)) is not None:
        over = alert.is_over(now, book.policy.after)
        book.was_told(alert, now, over=over)
        found.append((alert.id, alert.code, over))
    return found


def test_a_condition_is_told_once_reminded_of_and_said_to_be_over() -> None:
    book, seen = alerts(), list[tuple[int, str, bool]]()
    for now in range(0, 3000, 10):
        book.look([GAS] if 50 <= now < 2500 else [], now)
        seen += [(now, code, over) for _, code, over in told(book, now)]
    begin_and_reminders = [(now, "wallet.low", False) for now in (150, 1150, 2150)]
    assert seen == [*begin_and_reminders, (2600, "wallet.low", True)]
    assert len(book) == 0


def test_what_comes_and_goes_within_the_time_is_nobodys_business() -> None:
    book = alerts()
    for now in range(0, 5000, 10):
        book.look([GAS] if now % 100 < 80 else [], now)
        assert told(book, now) == []


def test_what_goes_for_a_moment_is_the_same_alert_still() -> None:
    book, seen = alerts(AlertPolicy(after=100, remind=None)), list[tuple[str, str, bool]]()
    for now in range(0, 5000, 10):
        book.look([GAS] if now < 4000 and now % 500 < 420 else [], now)
        seen += told(book, now)
    assert seen == [("id1", "wallet.low", False), ("id1", "wallet.low", True)]


def test_what_the_operator_wants_so_is_not_told_and_warnings_only_where_they_are_wanted() -> None:
    for least, codes in ((Severity.WARNING, {"wallet.low", "rpc.down"}), (Severity.CRITICAL, {"rpc.down"})):
        book = alerts(AlertPolicy(after=0, least=least))
        book.look([GAS, PAUSED, DOWN], 5)
        assert {code for _, code, _ in told(book, 5)} == codes


def test_the_gravest_is_told_first_then_the_oldest_each_card_by_itself() -> None:
    book = alerts(AlertPolicy(after=0))
    book.look([card("a")], 1)
    book.look([card("a"), card("b"), DOWN], 2)
    assert [code for _, code, _ in told(book, 3)] == ["rpc.down", "device.cordoned", "device.cordoned"]
    assert [one.subject for one in book.told()] == ["a", "b", ""]


def test_what_was_told_is_not_told_again_after_a_restart_and_its_end_is() -> None:
    before = alerts()
    before.look([GAS, DOWN, card("x")], 0)
    alert = before.due(100)
    assert alert is not None
    before.was_told(alert, 100, over=False)
    assert alert.code == "rpc.down"
    again = alerts()
    again.restore(before.rows())
    again.look([GAS], 200)
    assert told(again, 200) == []
    again.look([GAS], 300)
    assert told(again, 300) == [(alert.id, "rpc.down", True), ("id1", "wallet.low", False)]


@pytest.mark.parametrize("row", [{}, {"id": "a"}, {"severity": "loud"}, {"since": "yesterday"}])
def test_what_was_kept_and_does_not_fit_is_left_out(row: dict[str, object]) -> None:
    before = alerts(AlertPolicy(after=0))
    before.look([GAS], 0)
    told(before, 0)
    (good,) = before.rows()
    again = alerts()
    again.restore([good | row if row and "id" not in row else row, good | {"subject": "other"}])
    assert [one.subject for one in again.told()] == ["other"]


def test_an_alert_that_was_on_its_way_when_its_condition_ended_is_said_to_be_over() -> None:
    book = alerts()
    book.look([GAS], 0)
    alert = book.due(100)
    assert alert is not None
    book.look([], 101)
    assert len(book) == 0
    book.was_told(alert, 102, over=False)
    book.look([], 110)
    assert told(book, 209) == []
    assert told(book, 210) == [(alert.id, "wallet.low", True)]


def test_there_is_an_end_to_how_much_is_remembered() -> None:
    book = alerts(AlertPolicy(after=0))
    long = Finding("source.not_ready", "x" * 5000, "y" * 5000, Severity.WARNING, "0x1")
    book.look([long, *(card(str(number)) for number in range(MOST + 7))], 0)
    assert (len(book), book.left_out) == (MOST, 8)
    found = book.due(0)
    assert isinstance(found, Alert)
    assert len(found.text) == len(found.remedy) == LONGEST
    book.look([], 1)
    assert (len(book), book.left_out) == (0, 0)


CONDITIONS = (GAS, DOWN, card("a"), card("b"))
HISTORY = st.lists(
    st.tuples(st.integers(1, 200), st.sets(st.sampled_from(range(4))), st.booleans(), st.booleans()), max_size=60
)


@given(HISTORY, st.sampled_from([0, 30, 100]), st.sampled_from([None, 150, 400]))
def test_whatever_happens_each_begin_has_one_end_and_nothing_is_told_too_often(
    history: Sequence[tuple[int, set[int], bool, bool]], after: int, remind: int | None
) -> None:
    """`answers`: whether the receiver takes anything; `restarts`: the daemon starts anew, from what it kept."""
    policy = AlertPolicy(after=after, remind=remind)
    book, now, names = alerts(policy), 0, itertools.count()
    open_now: dict[str, tuple[str, str]] = {}
    last: dict[str, int] = {}
    stood: dict[tuple[str, str], int | None] = {}
    for gap, there, answers, restarts in [*history, (after + 1, set(), True, False), (after + 1, set(), True, False)]:
        now += gap
        if restarts:
            kept = book.rows()
            book = Alerts(policy, lambda: f"r{next(names)}")
            book.restore(kept)
        found = [CONDITIONS[number] for number in there]
        for one in CONDITIONS:
            key = (one.code, one.subject)
            stood[key] = (stood.get(key) or now) if one in found else None
        book.look(found, now)
        if not answers:
            continue
        for _ in range(20):
            alert = book.due(now)
            if alert is None:
                break
            key, over = (alert.code, alert.subject), alert.is_over(now, after)
            if over:
                assert open_now.pop(alert.id) == key
                assert stood[key] is None
            else:
                since = stood[key]
                assert since is not None
                if alert.id in open_now:
                    assert remind is not None
                    assert now - last[alert.id] >= remind
                else:
                    assert now - since >= after
                open_now[alert.id], last[alert.id] = key, now
            assert max(Counter(open_now.values()).values(), default=0) <= 1
            book.was_told(alert, now, over=over)
        else:
            raise AssertionError("telling never ends")
    assert open_now == {}
