"""How often a source's project may end by itself before it is left alone. In memory: a daemon's start is a new try."""

from collections import deque
from dataclasses import dataclass

from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.errors import EngineError, Retry
from ogpu_provider.domain.units import Address

WINDOW_S = 3600.0
OWN = frozenset({"exited", "oom", "unhealthy", "never_ready", "gone", "bad_contract"})
"""Ends that are the project's own doing, not the engine's or the registry's: engine.<one of these>."""


@dataclass(frozen=True, slots=True)
class _End:
    at: float
    sha256: str


class RestartBudget:
    """`ends`: so many within an hour are too many. Counted for one compose file: another one is another try."""

    def __init__(self, clock: Clock, ends: int) -> None:
        self._clock = clock
        self._most = ends
        self._ends: dict[Address, deque[_End]] = {}
        self._last: dict[Address, EngineError] = {}

    def ended(self, source: Address, sha256: str, problem: EngineError) -> None:
        """Count one end, or one start that came to nothing."""
        if problem.code.removeprefix("engine.") in OWN:
            self._ends.setdefault(source, deque(maxlen=self._most)).append(_End(self._clock.monotonic(), sha256))
            self._last[source] = problem

    def demand(self, source: Address, sha256: str) -> None:
        """Raises EngineError `engine.restarts` where nothing is left."""
        since = self._clock.monotonic() - WINDOW_S
        recent = [end for end in self._ends.get(source, ()) if end.at > since and end.sha256 == sha256]
        if len(recent) < self._most:
            return
        last = self._last[source]
        raise EngineError(
            f"it ended {len(recent)} times within {WINDOW_S / 60:g} minutes; the last time: {last.code}: {last}"[:500],
            code="engine.restarts",
            retry=Retry.NEVER,
            remedy=f"look at its tasks' logs, then: ogpu-provider sources retry {source}",
        )

    def forgive(self, source: Address) -> None:
        """The operator wants another try."""
        self._ends.pop(source, None)
        self._last.pop(source, None)
