"""What came in and what it cost, from the journal. Pure; amounts are integers in wei."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.units import Address, Wei


@dataclass(frozen=True, slots=True)
class Entry:
    """A settled payment, or the fee of a transaction that is in a block for good.

    `at`: when the journal learnt of it, unix seconds. `kind` is `payment` or the transaction's effect. `source` and
    `environment` are None where it concerns none, or the journal does not know.
    """

    at: float
    kind: str
    source: Address | None
    environment: Environment | None
    paid: Wei = 0
    fee: Wei = 0


@dataclass(frozen=True, slots=True)
class Total:
    """Entries of one day, source or environment. `net` is negative where fees were more than payments."""

    key: str
    tasks: int = 0
    paid: Wei = 0
    transactions: int = 0
    fees: Wei = 0

    @property
    def net(self) -> Wei:
        return self.paid - self.fees

    def plus(self, entry: Entry) -> "Total":
        payment = entry.kind == "payment"
        return Total(
            self.key,
            self.tasks + payment,
            self.paid + entry.paid,
            self.transactions + (not payment),
            self.fees + entry.fee,
        )


KEYS: dict[str, Callable[[Entry], str]] = {
    "day": lambda entry: datetime.fromtimestamp(entry.at, UTC).date().isoformat(),
    "source": lambda entry: entry.source or "none",
    "environment": lambda entry: entry.environment.label if entry.environment else "none",
}
"""What entries can be added up by. Days are those of UTC, whatever the host's time zone."""


def totals(entries: Iterable[Entry], by: str) -> list[Total]:
    """One total for each key that has entries, sorted by it. Raises KeyError for a `by` that is not in KEYS."""
    key_of = KEYS[by]
    found: dict[str, Total] = {}
    for entry in entries:
        key = key_of(entry)
        found[key] = found.get(key, Total(key)).plus(entry)
    return [found[key] for key in sorted(found)]


def whole(entries: Iterable[Entry]) -> Total:
    total = Total("total")
    for entry in entries:
        total = total.plus(entry)
    return total
