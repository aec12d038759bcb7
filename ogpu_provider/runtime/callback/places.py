"""Who may be connected. Whoever has shown no token yet can be put out; whoever has one keeps its place."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from ogpu_provider.domain.units import Address


@dataclass(slots=True, eq=False)
class Place:
    """One connection. `put_out` ends it at once. `source`: whose token it has shown."""

    peer: str
    put_out: Callable[[], None]
    source: Address | None = field(default=None, init=False)


class Places:
    """`waiting` connections without a token in all, `per_peer` of them from one address, `per_source` with a token.

    A newcomer always gets in. Where its peer has all it may have, that one's oldest goes out for it; where all places
    are taken, the oldest of those peers that hold an even share of them or more. So neither slow senders nor many of
    them keep others out, and no source takes another one's places.
    """

    def __init__(self, waiting: int, per_peer: int, per_source: int) -> None:
        self._limit = waiting
        self._per_peer = per_peer
        self._per_source = per_source
        self._waiting: dict[Place, None] = {}
        self._peers: Counter[str] = Counter()
        self._sources: Counter[Address] = Counter()

    def enter(self, place: Place) -> Place | None:
        """Let one in; whoever was put out for it is returned."""
        loser = None
        if self._peers[place.peer] >= self._per_peer:
            loser = next(each for each in self._waiting if each.peer == place.peer)
        elif len(self._waiting) >= self._limit:
            share = len(self._waiting) // len(self._peers)
            loser = next(each for each in self._waiting if self._peers[each.peer] >= share)
        if loser is not None:
            self.leave(loser)
            loser.put_out()
        self._waiting[place] = None
        self._peers[place.peer] += 1
        return loser

    def show(self, place: Place, source: Address) -> bool:
        """A token was shown. False if its source has as many places as it may have."""
        if place not in self._waiting or self._sources[source] >= self._per_source:
            return False
        self.leave(place)
        place.source = source
        self._sources[source] += 1
        return True

    def leave(self, place: Place) -> None:
        """Whatever it holds is free again; a second time does nothing."""
        if place in self._waiting:
            del self._waiting[place]
            self._peers[place.peer] -= 1
            self._peers += Counter()
        elif place.source is not None:
            self._sources[place.source] -= 1
            self._sources += Counter()
            place.source = None
