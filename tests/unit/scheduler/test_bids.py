import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogpu_provider.domain.units import COIN
from ogpu_provider.scheduler.bids import FULL, Auction, bounded, strategy

AMOUNTS = st.integers(0, 10**24)
AUCTIONS = st.builds(
    lambda payment, costs, won, lost, lowest: Auction(payment, costs, won, won + lost, lowest),
    AMOUNTS,
    AMOUNTS,
    st.integers(0, 100),
    st.integers(0, 100),
    st.none() | AMOUNTS,
)
TASK = Auction(payment=1000, costs=400)


def test_a_fixed_amount_and_never_more_than_the_payment() -> None:
    assert strategy("fixed:0.01")(Auction(COIN, 0)) == COIN // 100
    assert strategy("fixed:0.01")(TASK) == 1000


def test_a_percentage_of_the_payment() -> None:
    assert strategy("percentage:90")(TASK) == 900
    assert strategy("percentage:12.5")(TASK) == 125
    assert strategy(FULL)(TASK) == 1000


def test_undercutting_stops_at_our_costs_and_a_margin() -> None:
    bid = strategy("undercut:5")
    assert bid(TASK) == 1000, "alone, the payment"
    assert bid(Auction(1000, 400, lowest=800)) == 792
    assert bid(Auction(1000, 400, lowest=50)) == 420
    assert bid(Auction(1000, 400, lowest=1)) == 420
    assert bid(Auction(1000, 990, lowest=900)) == 1000, "dearer than the payment is not bid"


def test_who_wins_too_little_asks_less_and_never_less_than_the_costs() -> None:
    bid = strategy("win-rate:50")
    assert bid(TASK) == 1000
    assert bid(Auction(1000, 400, won=6, bids=10)) == 1000
    assert bid(Auction(1000, 400, won=1, bids=4)) == 700
    assert bid(Auction(1000, 400, won=0, bids=9)) == 400


def test_a_win_rate_settles_near_its_target() -> None:
    """Others ask evenly between 400 and 1000; who asks less than they wins."""
    bid, won, asked = strategy("win-rate:50"), 0, []
    for n in range(1, 1001):
        asked.append(bid(Auction(1000, 400, won, n - 1)))
        won += asked[-1] < 400 + 600 * (n * 7919 % 1000) / 1000
    assert 0.25 <= won / 1000 <= 0.5
    assert min(asked) >= 400


@given(AUCTIONS, st.sampled_from(["fixed:3", "percentage:70", "undercut:10", "win-rate:30", FULL]))
def test_a_bid_is_never_negative_and_never_above_the_payment(auction: Auction, text: str) -> None:
    assert 0 <= strategy(text)(auction) <= auction.payment


@pytest.mark.parametrize(
    "text",
    [
        "",
        "cheapest",
        "fixed",
        "fixed:much",
        "percentage:101",
        "percentage:-1",
        "percentage:1/0",
        "win-rate:0",
        "win-rate",
    ],
)
def test_a_strategy_that_is_none_is_refused(text: str) -> None:
    with pytest.raises((ValueError, ArithmeticError)):
        strategy(text)


def test_a_strangers_strategy_is_bounded_and_its_faults_cost_nothing() -> None:
    assert bounded(lambda _: 10**30)(TASK) == 1000
    assert bounded(lambda _: -1)(TASK) == 0
    assert bounded(lambda auction: auction.payment // 0)(TASK) == 1000
    assert bounded(lambda _: 0.5)(TASK) == 1000  # type: ignore[arg-type,return-value]


ENTRY = """
from ogpu_provider.scheduler.bids import Auction, strategy
bid = strategy("half:7")
assert bid(Auction(1000, 400)) == 507, bid(Auction(1000, 400))
assert bid(Auction(1, 0)) == 1
"""


def test_another_packages_strategy_is_found_by_its_entry_point(tmp_path: Path) -> None:
    (tmp_path / "others.py").write_text(
        "def half(text):\n    return lambda auction: auction.payment // 2 + int(text)\n"
    )
    info = tmp_path / "others-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ogpu_provider.bids]\nhalf = others:half\n")
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", ENTRY],
        env={"PYTHONPATH": f"{tmp_path}:{root}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
