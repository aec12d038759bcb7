"""What a run draws: a card's energy between two readings, given to the tasks that ran on it meanwhile. Pure; joules, s.

A card counts its energy since its driver was loaded, whoever used it. So it is shared out by time: a task that had the
card for half of a span gets half of its energy, and two that had it together share. What nobody ran is nobody's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ogpu_provider.domain.units import Address


@dataclass(slots=True)
class _Run:
    cards: frozenset[str]
    begin: float
    end: float | None = None
    joules: float = 0.0
    metered: dict[str, float] = field(default_factory=dict)


class Meter:
    """`begin` and `end` when a task starts and stops to run; `read` with each reading of the cards."""

    def __init__(self) -> None:
        self._runs: dict[Address, _Run] = {}
        self._last: dict[str, tuple[float, float]] = {}

    @property
    def running(self) -> bool:
        """Whether a task that has a card runs, or one that ended is not metered to its end."""
        return bool(self._runs)

    def begin(self, task: Address, cards: frozenset[str], at: float) -> None:
        if cards:
            self._runs[task] = _Run(cards, at, metered=dict.fromkeys(cards, at))

    def end(self, task: Address, at: float, *, done: bool) -> None:
        """Only what came to its result says what such a run draws."""
        if not done:
            self._runs.pop(task, None)
        elif task in self._runs:
            self._runs[task].end = at

    def read(self, at: float, energies: Mapping[str, float]) -> dict[Address, float]:
        """Counters by card at a time. Returns joules of the tasks that ended before it, each once."""
        for card, energy in energies.items():
            before, counted = self._last.get(card, (at, energy))
            self._last[card] = (at, energy)
            if at > before and energy >= counted:  # a driver that was loaded anew counts from 0
                self._share_out(card, before, at, energy - counted)
        return self._done(at, energies)

    def _share_out(self, card: str, begin: float, end: float, joules: float) -> None:
        had = {}
        for run in self._runs.values():
            if card in run.cards:
                overlap = min(end, run.end if run.end is not None else end) - max(begin, run.begin)
                had[id(run)] = (run, max(0.0, overlap))
        span = max(end - begin, sum(overlap for _, overlap in had.values()))
        for run, overlap in had.values():
            run.joules += joules * overlap / span
            if begin <= run.metered[card]:
                run.metered[card] = end

    def _done(self, at: float, energies: Mapping[str, float]) -> dict[Address, float]:
        found = {}
        for task, run in tuple(self._runs.items()):
            if run.end is not None and run.end <= at:
                del self._runs[task]
                if run.cards <= energies.keys() and all(run.metered[card] >= run.end for card in run.cards):
                    found[task] = run.joules
        return found
