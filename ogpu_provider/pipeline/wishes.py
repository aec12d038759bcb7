"""Which sources the operator wants: by the settings, and by what was said while the daemon ran."""

from dataclasses import dataclass

from ogpu_provider.domain.approval import OnChange
from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.units import Address
from ogpu_provider.domain.wish import Want, Wish
from ogpu_provider.pipeline.journal import Journal
from ogpu_provider.pipeline.rows import Unfit


@dataclass(frozen=True, slots=True)
class SourcePolicy:
    """Which sources the operator wants: all of them, or a list; never the denied ones. Pauses in seconds.

    `idle_after`, `warm_for`: see Warmth.
    """

    serve_all: bool = False
    listed: frozenset[Address] = frozenset()
    denied: frozenset[Address] = frozenset()
    retry_pause: float = 15.0
    retry_pause_max: float = 600.0
    at_once: int = 2
    register_timeout: float = 120.0
    compose_change: OnChange = OnChange.ASK
    idle_after: float | None = None
    warm_for: float = 300.0

    def wants(self, source: Address) -> bool:
        return source not in self.denied and (self.serve_all or source in self.listed)


class Wishes:
    """Written down before they are done; they hold over restarts and go before the settings."""

    def __init__(self, journal: Journal, clock: Clock, policy: SourcePolicy) -> None:
        self._journal = journal
        self._clock = clock
        self._policy = policy
        self._added: set[Address] = set()
        self._leaving: dict[Address, Want] = {}

    async def restore(self) -> None:
        for wish in await self._journal.wishes():
            if wish.source and wish.want is Want.SERVE:
                self._added.add(wish.source)
            elif wish.source:
                self._leaving[wish.source] = wish.want

    @property
    def named(self) -> frozenset[Address]:
        """Sources that are to be served one by one, whatever else is."""
        return self._policy.listed | self._added

    def leaving(self, source: Address) -> Want | None:
        """How far the operator is done with it; None: it is served."""
        return self._leaving.get(source)

    @property
    def unregistering(self) -> tuple[Address, ...]:
        return tuple(source for source, want in self._leaving.items() if want is Want.UNREGISTER)

    def forbids(self, source: Address) -> bool:
        return source in self._policy.denied or source in self._leaving

    async def add(self, source: Address) -> bool:
        """Whether it was being left until now. Raises Unfit (`source.denied`)."""
        if source in self._policy.denied:
            raise Unfit(f"{source} is in sources.deny", code="source.denied", remedy="take it out of the settings")
        await self._journal.wish(Wish(source, Want.SERVE, self._clock.now()))
        return self._leaving.pop(source, None) is not None

    async def leave(self, source: Address, *, unregister: bool) -> None:
        want = Want.UNREGISTER if unregister else Want.LEAVE
        await self._journal.wish(Wish(source, want, self._clock.now()))
        self._leaving[source] = want
        self._added.discard(source)
