"""Which source has had nothing to do for longest: it gives its devices to one that has none."""

from collections.abc import Callable

from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.source import Environment, SourceState
from ogpu_provider.domain.units import Address
from ogpu_provider.pipeline.book import SourceBook


class Warmth:
    """`idle_after`: seconds without a task after which a source may be cooled down; None: never.

    A source that was just warmed counts as just used, so that two do not take turns faster than that.
    """

    def __init__(
        self, book: SourceBook, clock: Clock, busy: Callable[[Address], bool], *, idle_after: float | None
    ) -> None:
        self._book = book
        self._clock = clock
        self._busy = busy
        self._idle_after = idle_after
        self._used: dict[Address, float] = {}

    def used(self, source: Address) -> None:
        """A task of it is over, or it became ready."""
        self._used[source] = self._clock.monotonic()

    def coldest(self, environment: Environment) -> Address | None:
        """Of those that hold devices of an environment and have been idle for long enough; None: there is none."""
        if self._idle_after is None:
            return None
        since = self._clock.monotonic() - self._idle_after
        idle = [
            row.address
            for row in self._book.all()
            if row.state is SourceState.READY
            and row.environment is environment
            and row.devices
            and self._used.get(row.address, since) <= since
            and not self._busy(row.address)
        ]
        return min(idle, key=lambda source: self._used.get(source, 0.0), default=None)
