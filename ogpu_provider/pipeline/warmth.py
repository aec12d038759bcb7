"""Which sources' containers stay up: the one without work for longest makes room, and comes back for its next task."""

from collections.abc import Callable

from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.source import Environment, ServedSource, SourceState
from ogpu_provider.domain.units import Address
from ogpu_provider.pipeline.book import SourceBook


class Warmth:
    """`idle_after`: seconds without a task after which a source gives up its devices to one that has none; None: never.
    `warm_for`: seconds that a source stays up, however little memory is left.

    A source that was just warmed counts as just used, so that two do not take turns faster than that. `engaged` says
    whether there is any task for a source, be it only one that waits.
    """

    def __init__(
        self,
        book: SourceBook,
        clock: Clock,
        engaged: Callable[[Address], bool],
        *,
        idle_after: float | None,
        warm_for: float,
    ) -> None:
        self._book = book
        self._clock = clock
        self._engaged = engaged
        self._idle_after = idle_after
        self._warm_for = warm_for
        self._used: dict[Address, float] = {}
        self._demanded: set[Address] = set()

    def used(self, source: Address) -> None:
        """A task of it is over, or it became ready."""
        self._used[source] = self._clock.monotonic()

    def demand(self, source: Address) -> bool:
        """There is a task for a source that is down; False if that was known."""
        known = source in self._demanded
        self._demanded.add(source)
        return not known

    def demanded(self, source: Address) -> bool:
        return source in self._demanded

    @property
    def demands(self) -> tuple[Address, ...]:
        """Sources that are down and have a task."""
        return tuple(self._demanded)

    def met(self, source: Address) -> None:
        """It is up, or it cannot be."""
        self._demanded.discard(source)

    def for_devices(self, environment: Environment) -> Address | None:
        """Whose devices may go to another source; None: nobody's."""
        if self._idle_after is None:
            return None
        return self._coldest(self._idle_after, lambda row: row.environment is environment and bool(row.devices))

    def for_memory(self, device: str = "") -> Address | None:
        """Who goes down where the host's memory is short, or that of one device."""
        return self._coldest(self._warm_for, lambda row: not device or device in row.devices)

    def _coldest(self, idle: float, fits: Callable[[ServedSource], bool]) -> Address | None:
        since = self._clock.monotonic() - idle
        found = [
            row.address
            for row in self._book.all()
            if row.state is SourceState.READY
            and fits(row)
            and self._used.get(row.address, since) <= since
            and not self._engaged(row.address)
        ]
        return min(found, key=lambda source: self._used.get(source, 0.0), default=None)
