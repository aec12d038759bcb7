from datetime import datetime
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from ogpu_provider.domain.units import COIN
from ogpu_provider.domain.week import hours
from ogpu_provider.scheduler.price import JOULES_PER_KWH, Costs, Tariff, Terms, costs

NIGHT = datetime(2026, 6, 1, 23)
DAY = datetime(2026, 6, 1, 12)
TERMS = Terms(
    tariff=Tariff(Fraction("0.30"), ((hours("22:00-06:00"), Fraction("0.20")),)),
    coin_price=Fraction("0.05"),
    watts=300,
    hour_rate=COIN // 2,
)


def test_an_hour_at_300_watts_by_day_and_by_night() -> None:
    day = costs(TERMS, run_s=3600, joules=None, gas=7, moment=DAY)
    assert day.energy == int(Fraction("0.3") * Fraction("0.30") / Fraction("0.05") * COIN)
    assert (day.gas, day.rate, day.joules) == (7, COIN // 2, 1_080_000)
    assert day.total == 7 + day.energy + COIN // 2
    night = costs(TERMS, run_s=3600, joules=None, gas=7, moment=NIGHT)
    assert night.energy * 3 == day.energy * 2


def test_what_was_metered_goes_before_the_watts() -> None:
    metered = costs(TERMS, run_s=3600, joules=JOULES_PER_KWH, gas=None, moment=DAY)
    assert metered.energy == 6 * COIN
    assert metered.total == metered.energy + metered.rate


def test_without_a_price_of_the_coin_energy_is_not_counted() -> None:
    assert costs(Terms(tariff=TERMS.tariff, watts=300), run_s=10, joules=None, gas=None, moment=DAY).total == 0


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_a_longer_run_never_costs_less(one: float, more: float) -> None:
    def of(seconds: float) -> Costs:
        return costs(TERMS, run_s=seconds, joules=None, gas=0, moment=DAY)

    assert of(one).total <= of(one + more).total
