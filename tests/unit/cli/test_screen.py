"""What people read: amounts that are short and near, sentences that scripts find whole."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogpu_provider.cli.screen import amount, line, some


@pytest.mark.parametrize(
    ("wei", "shown"),
    [
        (0, "0"),
        (10**18, "1"),
        (-(10**16), "-0.01"),
        (18_057_019_984_946_988, "0.01806"),
        (999_999_999_820_034_567_190_992, "999999.99982"),
        (1_234_567 * 10**9, "0.00123"),
        (123_456, "0.000000000000123"),
        (1, "0.000000000000000001"),
    ],
)
def test_an_amount_is_as_long_as_it_has_to_be(wei: int, shown: str) -> None:
    assert amount(wei) == shown


@given(st.integers(-(10**27), 10**27))
def test_an_amount_is_near_and_never_nothing_where_there_is_something(wei: int) -> None:
    shown, exact = Decimal(amount(wei)), Decimal(wei) / 10**18
    assert (shown == 0) == (wei == 0)
    assert abs(shown - exact) <= min(Decimal("0.0000051"), abs(exact) / 100)


def test_a_sentence_is_one_line_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    line("word " * 100 + "\x1b[2J\nend", 4)
    (shown,) = capsys.readouterr().out.splitlines()
    assert shown.startswith("    word word")
    assert shown.endswith("[2J end")
    assert "\x1b" not in shown


def test_one_is_one() -> None:
    assert [some(number, "task") for number in (0, 1, 2)] == ["0 tasks", "1 task", "2 tasks"]
