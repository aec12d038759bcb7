"""Tasks that wait for room, and whose turn it is. Pure; unix seconds, wei a second.

    owed            first: somebody promised it in our name
    patient         who has waited `patience` seconds, the longest first: nobody waits for ever
    the others      by value per second of work, the most first

The value of a first response fades while it waits, for others may be first; where the client confirms it does not.
The line is bounded: a newcomer takes the place of the one of least value, if that is less than its own.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from heapq import heappop, heappush
from math import log2
from operator import attrgetter

from ogpu_provider.domain.admission import Candidate
from ogpu_provider.domain.source import DeliveryMethod
from ogpu_provider.domain.units import Address
from ogpu_provider.scheduler.circumstances import Circumstances

FADES_S = 30.0
"""Seconds in which a first response that waits loses half of its value."""


@dataclass(frozen=True, slots=True)
class LinePolicy:
    """`limit`: so many tasks wait at most. `patience` in seconds."""

    limit: int = 1000
    patience: float = 60.0

    def __post_init__(self) -> None:
        if self.limit < 1 or self.patience < 0:
            raise ValueError("a line has room for 1 at least, and patience is not negative")


@dataclass(frozen=True, slots=True)
class Waiting:
    """`worth`: wei a second as of `since`. `fades`: it is worth less the longer it waits."""

    task: Address
    source: Address
    worth: float
    since: float
    fades: bool = False
    owed: bool = False

    def worth_at(self, now: float) -> float:
        if not self.fades or self.worth <= 0:
            return self.worth
        return float(self.worth * 2 ** (-max(0.0, now - self.since) / FADES_S))


def worth(candidate: Candidate, now: Circumstances) -> float:
    """What a task brings for each second of work: what it pays, as likely as it is paid, less what it costs.

    A function that never ran here counts with what is known of its time, at least a second.
    """
    pays = candidate.payment if now.bid is None else now.bid
    return (pays * now.chance - now.costs.total) / max(1.0, now.estimate.total)


class _Queue:
    """Tasks of one source whose value fades alike, so that which of two is worth more never changes."""

    def __init__(self) -> None:
        self.waiting: dict[Address, Waiting] = {}
        self._owed: dict[Address, Waiting] = {}
        self._best: list[tuple[float, float, float, Address, Waiting]] = []
        self._least: list[tuple[float, float, float, Address, Waiting]] = []

    def put(self, entry: Waiting) -> None:
        """In place of what was there of the task; its place in time is the one that it had."""
        self.waiting[entry.task] = entry
        if entry.owed:
            self._owed[entry.task] = entry
            return
        sign, value = _key(entry)
        heappush(self._best, (-sign, -value, entry.since, entry.task, entry))
        heappush(self._least, (sign, value, -entry.since, entry.task, entry))

    def take(self, task: Address) -> None:
        del self.waiting[task]
        self._owed.pop(task, None)

    def oldest(self) -> Waiting:
        return next(iter(self.waiting.values()))

    def first(self, now: float, patience: float) -> Waiting:
        if self._owed:
            return next(iter(self._owed.values()))
        oldest = self.oldest()
        if now - oldest.since >= patience:
            return oldest
        while self.waiting.get(self._best[0][3]) is not self._best[0][4]:
            heappop(self._best)
        return self._best[0][4]

    def last(self, now: float, patience: float) -> Waiting | None:
        """The one of least value, of those that may be sent away."""
        while self._least:
            entry = self._least[0][4]
            if self.waiting.get(entry.task) is entry and now - entry.since < patience:
                return entry
            heappop(self._least)  # it has gone, or become patient, which it stays
        return None


def _key(entry: Waiting) -> tuple[float, float]:
    if not entry.fades or entry.worth <= 0:
        return float(entry.worth > 0), entry.worth
    return 1.0, log2(entry.worth) + entry.since / FADES_S


class Line:
    """Of one host. `join` and `leave` as tasks come and go; joining again keeps the place in time."""

    def __init__(self, policy: LinePolicy) -> None:
        self.policy = policy
        self._waiting: dict[Address, Waiting] = {}
        self._queues: dict[tuple[Address, bool], _Queue] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, task: Address) -> bool:
        return task in self._waiting

    def join(self, candidate: Candidate, now: Circumstances) -> Address | None:
        """Returns who has to go: nobody, a task of less value that waited until now, or this one."""
        known = self._waiting.get(candidate.task)
        entry = Waiting(
            candidate.task,
            candidate.source,
            worth(candidate, now),
            known.since if known else candidate.now,
            candidate.delivery is DeliveryMethod.FIRST_RESPONSE,
            candidate.obliged,
        )
        if known and (known.source, known.fades, known.owed) != (entry.source, entry.fades, entry.owed):
            self.leave(candidate.task)
        if known != entry:
            self._waiting[candidate.task] = entry
            self._queues.setdefault((entry.source, entry.fades), _Queue()).put(entry)
        if len(self._waiting) <= self.policy.limit:
            return None
        last = self._last(candidate.now) or entry
        self.leave(last.task)
        return last.task

    def leave(self, task: Address) -> None:
        entry = self._waiting.pop(task, None)
        if entry is not None:
            place = (entry.source, entry.fades)
            self._queues[place].take(task)
            if not self._queues[place].waiting:
                del self._queues[place]

    def patient(self, source: Address, task: Address, now: float) -> Waiting | None:
        """The task of the source that came first, if its patience is at an end and it is another: nobody passes it."""
        found = [queue.oldest() for queue in self._of(source)]
        first = min(found, key=attrgetter("since"), default=None)
        return first if first and first.task != task and now - first.since >= self.policy.patience else None

    def order(self, now: float) -> list[Waiting]:
        """Whose turn is first, first."""
        return sorted(self._waiting.values(), key=lambda each: self._turn(each, now))

    def firsts(self, sources: Iterable[Address], now: float) -> list[Waiting]:
        """Of each of these sources the one whose turn is first; the first of all of them first."""
        found = []
        for source in sources:
            heads = [queue.first(now, self.policy.patience) for queue in self._of(source)]
            found += [min(heads, key=lambda each: self._turn(each, now))] if heads else []
        return sorted(found, key=lambda each: self._turn(each, now))

    def _of(self, source: Address) -> list[_Queue]:
        return [queue for fades in (False, True) if (queue := self._queues.get((source, fades)))]

    def _last(self, now: float) -> Waiting | None:
        found = [last for queue in self._queues.values() if (last := queue.last(now, self.policy.patience))]
        return max(found, key=lambda each: self._turn(each, now), default=None)

    def _turn(self, each: Waiting, now: float) -> tuple[int, float, float]:
        if each.owed:
            return 0, each.since, 0.0
        if now - each.since >= self.policy.patience:
            return 1, each.since, 0.0
        return 2, -each.worth_at(now), each.since
