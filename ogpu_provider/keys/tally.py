"""What one signer has signed within a day. It does not know what was paid, so each nonce counts with its most."""

from collections import OrderedDict

from ogpu_provider.domain.units import Wei
from ogpu_provider.keys.policy import refused

DAY = 86_400.0


class Tally:
    """`limit`: wei of gas that may be signed for within 24 hours; None for no limit. A new process counts anew."""

    def __init__(self, limit: Wei | None) -> None:
        self._limit = limit
        self._most: OrderedDict[int, tuple[float, Wei]] = OrderedDict()
        self._sum = 0
        self._now = 0.0

    def admit(self, nonce: int, most: Wei, at: float) -> None:
        """Count a transaction that may cost `most`; in place of another one with its nonce, only what it costs more.

        `at` in unix seconds; a clock that is set back does not empty the day. Raises KeyRefused key.policy.
        """
        self._now = max(self._now, at)
        while self._most and next(iter(self._most.values()))[0] <= self._now - DAY:
            self._sum -= self._most.popitem(last=False)[1][1]
        before = self._most.get(nonce, (0.0, 0))[1]
        counted = max(before, most)
        if self._limit is not None and self._sum - before + counted > self._limit:
            raise refused(f"more than {self._limit} wei of gas within a day")
        self._most[nonce] = self._now, counted
        self._most.move_to_end(nonce)
        self._sum += counted - before
