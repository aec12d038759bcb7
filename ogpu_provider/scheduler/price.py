"""What a task costs us and what is left of its payment. Pure; amounts in wei, energy in joules, times in seconds.

    net = payment - gas - energy - rate x time

Energy is priced in money by the operator's tariff and becomes coin by a price that the operator states: nothing here
asks anybody. Exact arithmetic throughout (Fraction), rounded up once, against us.
"""

import math
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction

from ogpu_provider.domain.units import COIN, Wei
from ogpu_provider.domain.week import Hours, within

JOULES_PER_KWH = 3_600_000
HOUR_S = 3600


@dataclass(frozen=True, slots=True)
class Tariff:
    """Money per kWh. In `windows`, the first that contains the time of the run goes before `price`."""

    price: Fraction = Fraction(0)
    windows: tuple[tuple[Hours, Fraction], ...] = ()

    def at(self, moment: datetime) -> Fraction:
        span = within((hours for hours, _ in self.windows), moment)
        return next((price for hours, price in self.windows if hours is span), self.price)


@dataclass(frozen=True, slots=True)
class Terms:
    """The operator's prices. `coin_price`: money for one OGPU; without it energy has no price in coin and counts 0.

    `watts`: drawn by one task where nothing was metered. `hour_rate`: wei for an hour of a task's run.
    """

    tariff: Tariff = Tariff()
    coin_price: Fraction | None = None
    watts: float = 0.0
    hour_rate: Wei = 0


@dataclass(frozen=True, slots=True)
class Costs:
    """Of one task. `gas` is None while no transaction of the kind was ever paid for: it counts 0 then."""

    gas: Wei | None = None
    energy: Wei = 0
    rate: Wei = 0
    joules: float = 0.0

    @property
    def total(self) -> Wei:
        return (self.gas or 0) + self.energy + self.rate


def costs(terms: Terms, *, run_s: float, joules: float | None, gas: Wei | None, moment: datetime) -> Costs:
    """Of a run of `run_s` that begins at `moment`. `joules`: what such runs were metered at, None if none was."""
    used = joules if joules is not None else terms.watts * run_s
    energy = 0
    if terms.coin_price:
        money = Fraction(used) / JOULES_PER_KWH * terms.tariff.at(moment)
        energy = math.ceil(money / terms.coin_price * COIN)
    rate = math.ceil(Fraction(run_s) / HOUR_S * terms.hour_rate)
    return Costs(gas, energy, rate, used)
