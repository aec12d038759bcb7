"""Who else answers, in a replay: an assumption, since the past shows only those who took part. Pure."""

from collections.abc import Collection
from dataclasses import dataclass

from ogpu_provider.domain.facts import TaskStatus
from ogpu_provider.domain.history import PastTask
from ogpu_provider.domain.source import DeliveryMethod
from ogpu_provider.domain.units import Address


@dataclass(frozen=True, slots=True)
class Competition:
    """`others`: the others answer when they did, and we are paid only where our response would have been in a block

    before the first of theirs; a task to be confirmed by hand pays if its client confirmed anybody's response, and
    ours would have been there before. Not `others`: nobody else answers, and every client waits and pays.

    `ours`: responses that were ours, in lower case; they do not compete with us.
    """

    others: bool = True
    ours: Collection[Address] = frozenset()

    def rival(self, task: PastTask, delivery: DeliveryMethod) -> float | None:
        """When somebody else's answer left us nothing to earn; None: never."""
        if not self.others or (task.response is not None and task.response in self.ours):
            return None
        if delivery is DeliveryMethod.FIRST_RESPONSE:
            return task.responded_at
        return task.ended_at if task.end is TaskStatus.FINALIZED else None

    def canceled_at(self, task: PastTask) -> float | None:
        """When its client took it back; None: never."""
        return task.ended_at if self.others and task.end is TaskStatus.CANCELED else None

    def pays(self, task: PastTask, delivery: DeliveryMethod) -> bool:
        """Whether a response that was in time is paid."""
        return not self.others or delivery is DeliveryMethod.FIRST_RESPONSE or task.end is TaskStatus.FINALIZED
