"""Why a task of the past was not ours: what decided, and what else spoke against it. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ogpu_provider.domain.facts import TaskStatus
from ogpu_provider.domain.history import Outcome, PastTask
from ogpu_provider.domain.task import TaskState
from ogpu_provider.domain.units import Address
from ogpu_provider.domain.verdict import Ruling
from ogpu_provider.scheduler.missed import against
from ogpu_provider.scheduler.replay import UNREADABLE
from ogpu_provider.scheduler.seats import Stand

LATE_S = 30.0
"""Seconds from a task's block to our seeing it beyond which nobody was there to see."""
WAITED_S = 5.0
"""Seconds from seeing a task to declining it for its time beyond which it had waited for something."""
_GONE = frozenset({TaskState.FAILED, TaskState.EXPIRED, TaskState.LOST})

Judge = Callable[[PastTask, Stand], Sequence[Ruling]]


@dataclass(frozen=True, slots=True)
class Idleness:
    """`read`: the last block that the daemon has taken in, None before the first. `began`: when its journal begins."""

    stands: Mapping[Address, Stand]
    judge: Judge
    read: int | None = None
    began: float | None = None

    def against(self, task: PastTask, outcome: Outcome | None) -> list[Ruling]:
        """What spoke against it, the deciding reason first; empty for what was taken, is open or was withdrawn."""
        if outcome is None:
            return [] if task.end is TaskStatus.CANCELED else self._unseen(task)
        if outcome.state is TaskState.DECLINED:
            return self._declined(task, outcome)
        if outcome.state in _GONE:
            return [Ruling(outcome.code or outcome.state.value, False, outcome.reason)]
        return []

    def _declined(self, task: PastTask, outcome: Outcome) -> list[Ruling]:
        said = list(outcome.against) or [Ruling(outcome.code, False, outcome.reason)]
        if not said[0].code.startswith("time."):
            return said
        late, waited = outcome.seen_at - task.at, outcome.updated_at - outcome.seen_at
        if late > LATE_S:
            return [Ruling("daemon.down", False, f"it was seen {late:.0f} s after its block")]
        if waited > WAITED_S:
            return [Ruling("capacity.none", False, f"waited {waited:.0f} s for a slot or its source: {outcome.reason}")]
        return said

    def _unseen(self, task: PastTask) -> list[Ruling]:
        stand = self.stands.get(task.source)
        if stand is None:
            return [UNREADABLE]
        first = stand.refusal or self._absent(task)
        judged = against(self.judge(task, stand))
        others = [one for one in judged if one.code != first.code and (task.at or not one.code.startswith("time."))]
        return [first, *others]

    def _absent(self, task: PastTask) -> Ruling:
        """Its source is served now, and the journal does not have it."""
        if not task.at:
            return self._undated(task)
        if self.read is None or task.block > self.read:
            until = "has read no block yet" if self.read is None else f"has read up to block {self.read}"
            return Ruling("daemon.down", False, f"it is in block {task.block}, the daemon {until}")
        if self.began is None or task.at < self.began:
            return Ruling("journal.younger", False, "it was published before the journal's first task")
        return Ruling("source.not_served", False, f"source {task.source} was not served when it was published")

    def _undated(self, task: PastTask) -> Ruling:
        """Of a task whose block is not known."""
        if self.read is None:
            return Ruling("daemon.down", False, "the daemon has read no block yet")
        if self.began is None or task.expiry < self.began:
            return Ruling("journal.younger", False, f"it expired at {task.expiry}, before the journal's first task")
        text = "it was published before its source was served, or is in a block that the daemon has not read"
        return Ruling("journal.absent", False, text)
