"""When to ask a node for its newest block, where it does not tell by itself. Pure."""

from ogpu_provider.domain.facts import Block


class Pace:
    """Learns the time between blocks; sleeps through most of it and asks often around the next one.

    Times in seconds of a monotonic clock. A quiet chain is asked more and more seldom, down to once in `longest`.
    """

    def __init__(self, *, shortest: float = 0.05, longest: float = 2.0) -> None:
        self._shortest = shortest
        self._longest = longest
        self._period = 1.0
        self._number: int | None = None
        self._at = 0.0

    @property
    def period(self) -> float:
        """Seconds between blocks, as observed."""
        return self._period

    def heard(self, block: Block, at: float) -> None:
        """A block was seen for the first time. Several at once tell their mean distance."""
        if self._number is not None and block.number > self._number:
            seen = (at - self._at) / (block.number - self._number)
            self._period += 0.2 * (min(max(seen, self._shortest), 30.0) - self._period)
        if self._number is None or block.number != self._number:
            self._number, self._at = block.number, at

    def pause(self, at: float) -> float:
        """How long to sleep before asking again."""
        passed = at - self._at
        quiet = 0.7 * self._period - passed  # the next block is not due before this
        wanted = quiet if quiet > 0 else max(self._period, passed) / 12
        return min(max(wanted, self._shortest), self._longest)
