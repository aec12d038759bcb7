"""What became of other people's tasks, and of ours: the chain's past, for `why`, `why-idle` and `simulate`.

Times are those of blocks, unix seconds; amounts in wei.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ogpu_provider.domain.facts import Attempted, ResponseSubmitted, TaskStatus, TaskStatusChanged
from ogpu_provider.domain.task import TaskState
from ogpu_provider.domain.units import Address, Hash, Wei
from ogpu_provider.domain.verdict import Ruling


@dataclass(frozen=True, slots=True)
class Publication:
    """A task as it was published; `place` is the log's index in its block."""

    task: Address
    source: Address
    block: int
    place: int
    at: int
    payment: Wei
    expiry: int


Turn = Attempted | ResponseSubmitted | TaskStatusChanged
"""What happens to a task after its publication."""


@dataclass(frozen=True, slots=True)
class Passage:
    """Everything about tasks in the blocks `first` to `last`. `turns`: each with its block's time.

    `unread`: tasks whose contract answers nothing that fits.
    """

    first: int
    last: int
    last_hash: Hash
    last_at: int
    published: Sequence[Publication] = ()
    turns: Sequence[tuple[int, Turn]] = ()
    unread: int = 0


@dataclass(frozen=True, slots=True)
class Span:
    """Blocks that were read without a gap; `at` is the last one's time."""

    first: int
    last: int
    last_hash: Hash
    at: int


def gaps(spans: Sequence[Span], first: int, last: int) -> list[tuple[int, int]]:
    """What of `first` to `last` lies in no span; ascending. `spans` are apart from each other and ascending."""
    found: list[tuple[int, int]] = []
    for span in spans:
        if span.first > first:
            found.append((first, min(last, span.first - 1)))
        first = max(first, span.last + 1)
    return [(low, high) for low, high in [*found, (first, last)] if low <= high]


@dataclass(frozen=True, slots=True)
class PastTask:
    """A task of the past with what the chain shows of its life. `task` is in lower case.

    `attempted_at`, `responded_at`: the first ones, by whoever. `response`: the first one's contract, lower case.
    `ended_at` and `end`: canceled, expired or finalised.
    """

    task: Address
    source: Address
    block: int
    at: int
    payment: Wei
    expiry: int
    attempts: int = 0
    attempted_at: int | None = None
    responded_at: int | None = None
    response: Address | None = None
    ended_at: int | None = None
    end: TaskStatus | None = None

    @property
    def took(self) -> int | None:
        """Seconds from the first attempt to the first response."""
        if self.attempted_at is None or self.responded_at is None:
            return None
        return max(0, self.responded_at - self.attempted_at)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What our journal says of a task, shortly. `against`: the rules that did not pass, where it was declined."""

    task: Address
    source: Address
    state: TaskState
    code: str
    reason: str
    function: str
    payment: Wei
    expiry: int
    seen_at: float
    updated_at: float
    response: Address | None = None
    against: Sequence[Ruling] = ()
