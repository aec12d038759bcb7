"""What to pay for a transaction, and how much gas to allow it. Pure: suggestions come in, figures go out.

Amounts in wei per gas. The rules are those of geth's pool and of op-service's txmgr: a first offer survives the base
fee doubling, a replacement pays at least an eighth more, and nothing goes over the operator's ceiling.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ogpu_provider.domain.intent import Effect
from ogpu_provider.domain.units import Wei

GWEI = 10**9
DAY = 86_400.0
MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class Fees:
    """`tip_fee` is None for a legacy transaction, whose gas price is `max_fee`."""

    max_fee: Wei
    tip_fee: Wei | None


@dataclass(frozen=True, slots=True)
class FeeCaps:
    """`absolute` is the operator's; a replacement also stays under `multiple` times what is suggested now."""

    absolute: Wei = 500 * GWEI
    multiple: int = 5


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What a node would pay: `tip` on chains with a base fee, `gas_price` on those without."""

    tip: Wei
    gas_price: Wei


def quote(base_fee: Wei | None, suggestion: Suggestion, caps: FeeCaps) -> Fees | None:
    """A first offer; None while the chain asks for more than the absolute cap."""
    if base_fee is None:
        price = suggestion.gas_price
        return Fees(price, None) if price <= caps.absolute else None
    if base_fee > caps.absolute:
        return None
    max_fee = min(suggestion.tip + 2 * base_fee, caps.absolute)
    return Fees(max_fee, min(suggestion.tip, max_fee))


def bump(previous: Fees, current: Fees, caps: FeeCaps) -> Fees | None:
    """An offer that a pool takes in place of `previous`, given what `quote` says now.

    Both figures grow by an eighth or to the current ones, whichever is more. None if that breaks a cap. Where the
    chain has changed its kind of fees, the kind is the current one, and the price of `previous` counts as its tip.
    """
    if current.tip_fee is None:
        previous = Fees(previous.max_fee, None)
    elif previous.tip_fee is None:
        previous = Fees(previous.max_fee, previous.max_fee)
    max_fee = max(_eighth_more(previous.max_fee), current.max_fee)
    if max_fee > min(caps.absolute, caps.multiple * current.max_fee):
        return None
    if previous.tip_fee is None or current.tip_fee is None:
        return Fees(max_fee, None)
    return Fees(max_fee, max(_eighth_more(previous.tip_fee), current.tip_fee))


def _eighth_more(amount: Wei) -> Wei:
    return max(-(-amount * 9 // 8), amount + 1)


START_GAS: Mapping[Effect, int] = MappingProxyType(
    {
        Effect.REGISTER: 1_000_000,
        Effect.UNREGISTER: 600_000,
        Effect.ATTEMPT: 600_000,
        Effect.SUBMIT_RESPONSE: 2_500_000,  # it deploys a contract
        Effect.ANNOUNCE_MASTER: 600_000,
        Effect.SET_BASE_DATA: 600_000,
        Effect.SET_LIVE_DATA: 600_000,
        Effect.FILL: 21_000,
        Effect.DEPOSIT: 300_000,
        Effect.LOCK: 300_000,
        Effect.UNBOND: 300_000,
        Effect.CANCEL_UNBONDING: 300_000,
        Effect.CLAIM: 300_000,
        Effect.WITHDRAW: 300_000,
        Effect.PUBLISH_TASK: 3_000_000,  # it deploys a contract
        Effect.CANCEL_TASK: 600_000,
        Effect.CONFIRM_RESPONSE: 900_000,
    }
)
"""Limits before anything was seen; far above need, because a limit that is too low costs the task."""


class DayBudget:
    """What transactions cost within the last day, in wei, and whether one more may be signed.

    Counted by the minute, so that a day is never more than 1,441 figures; a minute counts until all of it is a day old.
    """

    def __init__(self, limit: Wei | None = None) -> None:
        self._limit = limit
        self._paid: deque[tuple[int, Wei]] = deque()
        self._sum = 0

    def paid(self, at: float, amount: Wei) -> None:
        """A transaction was paid for at `at` (unix seconds). Called in order of time."""
        minute = int(at // MINUTE)
        if self._paid and self._paid[-1][0] >= minute:
            minute, before = self._paid.pop()
            self._paid.append((minute, before + amount))
        else:
            self._paid.append((minute, amount))
        self._sum += amount

    def allows(self, now: float, ceiling: Wei) -> bool:
        """Whether `ceiling`, the most that everything in flight and the next may cost, fits into what is left."""
        while self._paid and (self._paid[0][0] + 1) * MINUTE <= now - DAY:
            self._sum -= self._paid.popleft()[1]
        return self._limit is None or self._sum + ceiling <= self._limit


class GasBook:
    """Gas limits learnt from receipts: the most that an effect ever used, a quarter more, in whole thousands.

    A limit only falls under its start value after `trust` receipts; running out of gas doubles it.
    """

    def __init__(self, *, cap: int = 5_000_000, trust: int = 3) -> None:
        self._cap = cap
        self._trust = trust
        self._most: dict[Effect, int] = {}
        self._seen: dict[Effect, int] = {}
        self._floor: dict[Effect, int] = {}

    def limit(self, effect: Effect) -> int:
        learnt = -(-self._most.get(effect, 0) * 5 // 4 // 1000) * 1000
        start = START_GAS[effect] if self._seen.get(effect, 0) < self._trust else 0
        return min(max(learnt, start, self._floor.get(effect, 0)), self._cap)

    def most(self, effect: Effect) -> int | None:
        """The most gas that it ever used, None before that is trusted."""
        return self._most.get(effect) if self._seen.get(effect, 0) >= self._trust else None

    def learn(self, effect: Effect, *, used: int, limit: int, succeeded: bool, times: int = 1) -> None:
        """Take in receipts: the most gas that `times` transactions used which were allowed `limit`."""
        if succeeded:
            self._most[effect] = max(self._most.get(effect, 0), used)
            self._seen[effect] = self._seen.get(effect, 0) + times
        elif used * 64 >= limit * 63:  # a call inside leaves a 64th to its caller (EIP-150)
            self._floor[effect] = max(self._floor.get(effect, 0), 2 * limit)
