"""Who lets us down: failures of a source here, and clients who do not pay. Pure; times in unix seconds.

Each event weighs 1 and halves every `half_life`. From `limit` on the breaker is open, and nothing is taken until the
weight has decayed to half of `limit`; so a single new failure after that does not open it again at once.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from ogpu_provider.domain.units import Address

NOTHING = 0.01
"""A weight below this is none."""


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """`limit`: the weight that opens it; 0 switches it off. `half_life` in seconds."""

    limit: float = 3.0
    half_life: float = 1800.0

    def __post_init__(self) -> None:
        if self.limit < 0 or self.half_life <= 0:
            raise ValueError("a breaker needs a limit of 0 or more and a half-life above 0")


@dataclass(frozen=True, slots=True)
class Breaker:
    """Of one source or client. `weight` is as of `at`."""

    weight: float = 0.0
    at: float = 0.0
    tripped: bool = False

    def weight_at(self, now: float, policy: BreakerPolicy) -> float:
        return self.weight * math.exp2(-max(0.0, now - self.at) / policy.half_life)

    def struck(self, now: float, policy: BreakerPolicy) -> "Breaker":
        """After one more failure."""
        weight = self.weight_at(now, policy) + 1.0
        opened = policy.limit > 0 and weight >= policy.limit
        return Breaker(weight, max(now, self.at), opened or self.is_open(now, policy))

    def is_open(self, now: float, policy: BreakerPolicy) -> bool:
        return self.tripped and policy.limit > 0 and self.weight_at(now, policy) > policy.limit / 2

    def closes_at(self, policy: BreakerPolicy) -> float:
        """When it closes if nothing else happens; in the past for one that is closed."""
        if not self.tripped or self.weight <= policy.limit / 2:
            return self.at
        return self.at + policy.half_life * math.log2(self.weight / (policy.limit / 2))


_CLOSED = Breaker()


class Breakers:
    """One for each address that ever failed; those whose weight is gone are forgotten."""

    def __init__(self, policy: BreakerPolicy) -> None:
        self.policy = policy
        self._breakers: dict[Address, Breaker] = {}

    def strike(self, address: Address, now: float) -> Breaker:
        self._breakers[address] = self.get(address).struck(now, self.policy)
        return self._breakers[address]

    def restore(self, address: Address, times: Iterable[float]) -> None:
        """What an earlier run saw, oldest first."""
        for at in times:
            self.strike(address, at)

    def get(self, address: Address) -> Breaker:
        return self._breakers.get(address, _CLOSED)

    def forget(self, now: float) -> list[Address]:
        """Those that weigh nothing any more; they are gone after this."""
        gone = [a for a, b in self._breakers.items() if b.weight_at(now, self.policy) < NOTHING]
        for address in gone:
            del self._breakers[address]
        return gone

    def all(self) -> dict[Address, Breaker]:
        return dict(self._breakers)
