"""Tasks that wait for room, and whose turn it is. Pure; unix seconds, wei a second.

    owed            first: somebody promised it in our name
    patient         who has waited `patience` seconds, the longest first: nobody waits for ever
    the others      by value per second of work, the most first

The value of a first response fades while it waits, for others may be first; where the client confirms it does not.
The line is bounded: a newcomer takes the place of the one of least value, if that is less than its own.
"""

from collections.abc import Iterable
from dataclasses import dataclass

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


class Line:
    """Of one host. `join` and `leave` as tasks come and go; joining again keeps the place in time."""

    def __init__(self, policy: LinePolicy) -> None:
        self.policy = policy
        self._waiting: dict[Address, Waiting] = {}
        self._by_source: dict[Address, dict[Address, Waiting]] = {}

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
        self._waiting[candidate.task] = entry
        self._by_source.setdefault(candidate.source, {})[candidate.task] = entry
        if len(self._waiting) <= self.policy.limit:
            return None
        last = max(self._waiting.values(), key=lambda each: self._turn(each, candidate.now))
        self.leave(last.task)
        return last.task

    def leave(self, task: Address) -> None:
        entry = self._waiting.pop(task, None)
        if entry is not None:
            same = self._by_source[entry.source]
            del same[task]
            if not same:
                del self._by_source[entry.source]

    def patient(self, source: Address, task: Address, now: float) -> Waiting | None:
        """The task of the source that came first, if its patience is at an end and it is another: nobody passes it."""
        first = next(iter(self._by_source.get(source, {}).values()), None)
        return first if first and first.task != task and now - first.since >= self.policy.patience else None

    def order(self, now: float) -> list[Waiting]:
        """Whose turn is first, first."""
        return sorted(self._waiting.values(), key=lambda each: self._turn(each, now))

    def firsts(self, sources: Iterable[Address], now: float) -> list[Waiting]:
        """Of each of these sources the one whose turn is first; the first of all of them first."""
        waiting = (self._by_source.get(source) for source in sources)
        found = [min(same.values(), key=lambda each: self._turn(each, now)) for same in waiting if same]
        return sorted(found, key=lambda each: self._turn(each, now))

    def _turn(self, each: Waiting, now: float) -> tuple[int, float, float]:
        if each.owed:
            return 0, each.since, 0.0
        if now - each.since >= self.policy.patience:
            return 1, each.since, 0.0
        return 2, -each.worth_at(now), each.since
