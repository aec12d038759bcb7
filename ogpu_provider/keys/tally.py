"""What one signer has signed within a day. It does not know what was paid, so each nonce counts with its most."""

from collections import OrderedDict, deque

from ogpu_provider.domain.units import Wei
from ogpu_provider.keys.policy import refused

DAY = 86_400.0
MINUTE = 60
RECENT_S = 300.0
RECENT = 1024
"""A nonce is known by itself for so many seconds, and as long as it is one of so many; after that it is part of its
minute, and one more transaction with it counts beside it. So a day is never more than 2,465 figures, however many
transactions it had."""


class Tally:
    """`limit`: wei of gas that may be signed for within 24 hours; None for no limit. A new process counts anew.

    A minute counts until all of it is a day old.
    """

    def __init__(self, limit: Wei | None) -> None:
        self._limit = limit
        self._recent: OrderedDict[int, tuple[float, Wei]] = OrderedDict()
        self._minutes: deque[tuple[int, Wei]] = deque()
        self._sum = 0
        self._now = 0.0

    def __len__(self) -> int:
        """Figures that are kept."""
        return len(self._recent) + len(self._minutes)

    def admit(self, nonce: int, most: Wei, at: float) -> None:
        """Count a transaction that may cost `most`; in place of a recent one with its nonce, only what it costs more.

        `at` in unix seconds; a clock that is set back does not empty the day. Raises KeyRefused key.policy.
        """
        self._now = max(self._now, at)
        self._age()
        before = self._recent.get(nonce, (0.0, 0))[1]
        counted = max(before, most)
        if self._limit is not None and self._sum - before + counted > self._limit:
            raise refused(f"more than {self._limit} wei of gas within a day")
        self._recent[nonce] = self._now, counted
        self._recent.move_to_end(nonce)
        self._sum += counted - before
        if len(self._recent) > RECENT:
            self._fold()

    def _age(self) -> None:
        while self._recent and next(iter(self._recent.values()))[0] <= self._now - RECENT_S:
            self._fold()
        while self._minutes and (self._minutes[0][0] + 1) * MINUTE <= self._now - DAY:
            self._sum -= self._minutes.popleft()[1]

    def _fold(self) -> None:
        """The oldest nonce becomes a part of its minute."""
        _, (at, most) = self._recent.popitem(last=False)
        minute, before = int(at // MINUTE), 0
        if self._minutes and self._minutes[-1][0] == minute:
            before = self._minutes.pop()[1]
        self._minutes.append((minute, before + most))
