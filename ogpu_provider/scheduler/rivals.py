"""What other providers ask for the same task, as their attempts say. Contracts keep no list of it; logs do."""

from collections.abc import Mapping
from types import MappingProxyType

from ogpu_provider.domain.facts import Attempted
from ogpu_provider.domain.units import Address, Wei

_REMEMBERED = 10_000
"""Tasks; the oldest are forgotten first."""


class Rivals:
    """Heard of from blocks as they come; nothing of before the start is known."""

    def __init__(self) -> None:
        self._bids: dict[Address, dict[Address, Wei]] = {}

    def hear(self, attempt: Attempted) -> None:
        """Somebody else's attempt; his newest word counts."""
        self._bids.setdefault(attempt.task, {})[attempt.provider] = attempt.suggested_payment
        if len(self._bids) > _REMEMBERED:
            del self._bids[next(iter(self._bids))]

    def of(self, task: Address) -> Mapping[Address, Wei]:
        return MappingProxyType(self._bids.get(task, {}))

    def lowest(self, task: Address) -> Wei | None:
        """None: nobody else has attempted it, as far as we know."""
        return min(self._bids.get(task, {}).values(), default=None)

    def forget(self, task: Address) -> None:
        self._bids.pop(task, None)
