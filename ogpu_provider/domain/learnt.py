"""What was measured on this host, for estimates and for packing.

    fact          subject           aspect              value
    PEAK_MEMORY   image digest      name of the card    bytes that its containers took of one card, at most
    COLD_START    source            -                   seconds from the start to the first answer, images there
    RUN           source            function            seconds from the container's "accepted" to its result
    PIN           -                 -                   seconds from a result to its link
    ENERGY        source            function            joules that its cards drew for a run
    GAS           effect            -                   wei that its transaction cost
    PULL_RATE     -                 -                   compressed bytes a second, download and unpacking
    WON           source            -                   1 for a response that was paid, 0 for one that was not
    FAILED        source            -                   when (unix seconds) a task that we took failed here
    UNPAID        client            -                   when work of ours was left unpaid

An image digest is `sha256:...`, of the manifest.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

KEPT = 100
"""So many of the last samples of a fact say what is usual."""


class Fact(StrEnum):
    PEAK_MEMORY = "peak_memory"
    COLD_START = "cold_start"
    RUN = "run"
    GAS = "gas"
    PULL_RATE = "pull_rate"
    PIN = "pin"
    ENERGY = "energy"
    WON = "won"
    FAILED = "failed"
    UNPAID = "unpaid"


@dataclass(frozen=True, slots=True)
class Key:
    fact: Fact
    subject: str = ""
    aspect: str = ""


@dataclass(frozen=True, slots=True)
class Learnt:
    """`samples`: how many there ever were. `highest` of all of them. `recent`: the last ones, oldest first."""

    key: Key
    samples: int = 0
    highest: float = 0.0
    recent: tuple[float, ...] = ()
    updated_at: float = 0.0

    def quantile(self, q: float) -> float | None:
        """The smallest recent value that a share `q` (0 to 1) of them does not exceed; None without any."""
        if not 0 <= q <= 1:
            raise ValueError(f"a quantile is between 0 and 1, not {q}")
        if not self.recent:
            return None
        return sorted(self.recent)[max(0, math.ceil(q * len(self.recent)) - 1)]

    def with_sample(self, value: float, *, at: float) -> "Learnt":
        """Raises ValueError for what cannot have been measured."""
        if not math.isfinite(value) or value < 0:
            raise ValueError(f"{value} is no measurement")
        highest = max(self.highest, value) if self.samples else value
        recent = (*self.recent, value)[-KEPT:]
        return replace(self, samples=self.samples + 1, highest=highest, recent=recent, updated_at=at)


class Knowledge:
    """Everything learnt, in memory: who decides reads it without waiting. `pipeline.lessons` keeps it."""

    def __init__(self, facts: Iterable[Learnt] = ()) -> None:
        self._facts = {learnt.key: learnt for learnt in facts}

    def get(self, fact: Fact, subject: str = "", aspect: str = "") -> Learnt | None:
        return self._facts.get(Key(fact, subject, aspect))

    def quantile(self, q: float, fact: Fact, subject: str = "", aspect: str = "") -> float | None:
        """None while nothing was measured."""
        found = self.get(fact, subject, aspect)
        return found.quantile(q) if found else None

    def highest(self, fact: Fact, subject: str = "", aspect: str = "") -> float | None:
        found = self.get(fact, subject, aspect)
        return found.highest if found else None

    def mean(self, fact: Fact, subject: str = "", aspect: str = "") -> float | None:
        """Of the recent samples; None while nothing was measured."""
        found = self.get(fact, subject, aspect)
        return sum(found.recent) / len(found.recent) if found and found.recent else None

    def all(self, fact: Fact | None = None) -> list[Learnt]:
        """Everything, or all of one kind."""
        return [learnt for learnt in self._facts.values() if fact is None or learnt.key.fact is fact]

    def forget(self, key: Key) -> None:
        self._facts.pop(key, None)

    def put(self, learnt: Learnt) -> None:
        self._facts[learnt.key] = learnt

    def add(self, key: Key, value: float, *, at: float) -> Learnt:
        """One more sample; returns what is known with it. Raises ValueError like `with_sample`."""
        learnt = self._facts.get(key, Learnt(key)).with_sample(value, at=at)
        self.put(learnt)
        return learnt
