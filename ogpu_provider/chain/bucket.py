"""How many calls an endpoint takes. Pure; times in seconds of a monotonic clock."""

import math

_LEAST = 1.0  # calls per second, however often the node complains
_EASE = 1.05  # what a second without complaints adds to a rate that was learnt
_TRUST = 600.0  # seconds without complaints after which a learnt limit is forgotten
_REST = 1.0  # seconds, where the node does not say how long


class Bucket:
    """A token bucket. `rate` in calls per second; None: no limit until the node complains (429).

    A complaint halves the rate, and empties the bucket until the node's Retry-After has passed; quiet time lets it
    grow again.
    """

    def __init__(self, rate: float | None = None, *, burst: float = 2.0) -> None:
        self._ceiling = rate if rate is not None else math.inf
        self._burst = burst  # seconds' worth of calls that may be made at once
        self._rate = self._ceiling
        self._tokens = self._room
        self._at = 0.0
        self._spent = 0.0  # calls lately, by which an unlimited rate is halved
        self._rest_until = 0.0
        self._complained_at = -math.inf

    @property
    def rate(self) -> float:
        """Calls per second allowed now."""
        return self._rate

    def wait(self, at: float) -> float:
        """Seconds until a call may be made."""
        self._flow(at)
        debt = 0.0 if self._tokens > 0 or math.isinf(self._rate) else (1.0 - self._tokens) / self._rate
        return max(0.0, self._rest_until - at, debt)

    def take(self, calls: int, at: float) -> None:
        """Calls are made now. More than there are tokens for is a debt that later calls wait for."""
        self._flow(at)
        self._spent += calls
        if not math.isinf(self._rate):
            self._tokens -= calls

    def refused(self, retry_after: float | None, at: float) -> None:
        """The node said 429. Complaints about calls that were under way together count once."""
        self._flow(at)
        self._rest_until = max(self._rest_until, at + (_REST if retry_after is None else retry_after))
        if at - self._complained_at >= _REST:
            seen = self._spent if math.isinf(self._rate) else self._rate
            self._rate = max(_LEAST, min(seen, self._ceiling) / 2)
            self._tokens = 0.0
            self._complained_at = at

    def _flow(self, at: float) -> None:
        passed = max(0.0, at - self._at)
        self._at = max(self._at, at)
        self._spent *= math.exp(-passed)  # about the calls of the last second
        if at - self._complained_at > _TRUST:
            self._rate = self._ceiling
        elif at > self._rest_until and not math.isinf(self._rate):
            self._rate = min(self._ceiling, self._rate * _EASE ** min(passed, 60.0))
        self._tokens = self._room if math.isinf(self._rate) else min(self._room, self._tokens + passed * self._rate)

    @property
    def _room(self) -> float:
        return 0.0 if math.isinf(self._rate) else max(1.0, self._rate * self._burst)
