"""The signer's own day: whatever it is asked for, it does not sign for more."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogpu_provider.assembly import day_cap
from ogpu_provider.domain.errors import KeyRefused
from ogpu_provider.domain.intent import Effect, Intent
from ogpu_provider.domain.units import COIN, Address
from ogpu_provider.keys.policy import Policy
from ogpu_provider.keys.signer import SecretKey, Signer
from ogpu_provider.keys.tally import DAY, RECENT, RECENT_S, Tally
from ogpu_provider.settings import Settings


def refuses(tally: Tally, nonce: int, most: int, at: float = 0.0) -> bool:
    try:
        tally.admit(nonce, most, at)
    except KeyRefused:
        return True
    return False


def test_a_days_signatures_stay_within_the_cap_and_a_replacement_counts_with_what_is_more() -> None:
    tally = Tally(100)
    assert not refuses(tally, 0, 60)
    assert refuses(tally, 1, 41)
    assert not refuses(tally, 1, 40)
    assert refuses(tally, 0, 61)
    assert not refuses(tally, 0, 10), "a cheaper one in its place"
    assert refuses(tally, 2, 1), "but the dearer one may be mined yet"
    assert not refuses(tally, 2, 0)


def test_a_day_later_there_is_room_again() -> None:
    tally = Tally(100)
    tally.admit(0, 60, 970.0)
    tally.admit(1, 40, 1030.0)
    assert refuses(tally, 2, 1, 1019.0 + DAY), "a minute counts until all of it is a day old"
    assert refuses(tally, 2, 61, 1020.0 + DAY)
    assert not refuses(tally, 2, 60, 1020.0 + DAY)
    assert refuses(tally, 3, 1, 500.0), "a clock that is set back"
    assert not refuses(tally, 3, 40, 1080.0 + DAY)


def test_a_replacement_is_of_the_day_in_which_it_was_signed() -> None:
    tally = Tally(100)
    tally.admit(0, 60, 0.0)
    tally.admit(1, 10, 70.0)
    tally.admit(0, 70, 130.0)
    assert refuses(tally, 2, 21, 119.0 + DAY)
    assert not refuses(tally, 2, 30, 120.0 + DAY)
    assert refuses(tally, 3, 1, 179.0 + DAY)
    assert not refuses(tally, 3, 70, 180.0 + DAY)


def test_a_late_replacement_counts_beside_what_it_replaces() -> None:
    tally = Tally(100)
    tally.admit(0, 60, 0.0)
    assert not refuses(tally, 0, 61, RECENT_S - 1)
    assert refuses(tally, 0, 40, 2 * RECENT_S), "61 is part of its minute by now"
    assert not refuses(tally, 0, 39, 2 * RECENT_S)


def test_a_day_of_many_transactions_is_a_figure_a_minute() -> None:
    tally, second = Tally(None), 0.0
    for nonce in range(200_000):
        second += 0.9
        tally.admit(nonce, 1, second)
    assert len(tally) < 1441 + RECENT_S / 0.9 + 2


def test_of_many_transactions_at_once_the_newest_are_known_by_themselves() -> None:
    tally = Tally(10_000)
    for nonce in range(5_000):
        tally.admit(nonce, 1, 0.0)
    assert len(tally) == RECENT + 1
    assert not refuses(tally, 4_999, 5_001), "in place of what it cost"
    assert refuses(tally, 0, 1), "beside what it cost"


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 50), st.floats(0, 10 * DAY))))
def test_no_order_of_requests_goes_over_the_cap(requests: list[tuple[int, int, float]]) -> None:
    tally, signed = Tally(100), list[tuple[float, int, int]]()
    for nonce, most, at in sorted(requests, key=lambda one: one[2]):
        if not refuses(tally, nonce, most, at):
            signed.append((at, nonce, most))
        of_the_day = [(n, m) for when, n, m in signed if when > at - DAY]
        assert sum(max(m for n, m in of_the_day if n == one) for one in {n for n, _ in of_the_day}) <= 100


def test_without_a_cap_everything_is_admitted() -> None:
    assert not refuses(Tally(None), 0, 10**40)


async def test_the_signer_asks_its_tally() -> None:
    key = SecretKey.from_hex("17" * 32)
    here = Address("0x" + "22" * 20)
    signer = Signer(key, Policy(1071, key.address, here, here), day_cap=21_000 * 10 * 3)
    void = Intent("1071:fill:0", Effect.FILL, key.address, key.address, b"")
    for nonce in range(3):
        await signer.sign(void, nonce=nonce, gas=21_000, max_fee=10, tip_fee=1, at=0.0)
    with pytest.raises(KeyRefused, match="within a day"):
        await signer.sign(void, nonce=3, gas=21_000, max_fee=10, tip_fee=1, at=0.0)
    with pytest.raises(KeyRefused, match="is not within"):
        await signer.sign(void, nonce=3, gas=0, max_fee=10, tip_fee=1, at=DAY + 60)
    await signer.sign(void, nonce=3, gas=21_000, max_fee=10, tip_fee=1, at=DAY + 60)


def test_the_settings_give_the_signer_ten_times_the_days_budget() -> None:
    assert day_cap(Settings()) == 1000 * COIN
