"""What becomes of a task that was accepted, in a replay. Pure; times in unix seconds, amounts in wei."""

from dataclasses import dataclass, field
from enum import StrEnum

from ogpu_provider.domain.facts import TaskStatus
from ogpu_provider.domain.history import PastTask
from ogpu_provider.domain.source import DeliveryMethod
from ogpu_provider.domain.units import Wei
from ogpu_provider.scheduler.competition import Competition


class Outcome(StrEnum):
    PAID = "paid"
    UNPAID = "unpaid"  # in time, but its client confirms nobody's response
    LOST = "lost"  # somebody else's response came first
    FAILED = "failed"  # ran longer than there was time


@dataclass(frozen=True, slots=True)
class Fate:
    """`end`: when it gives its lease back. `gas`: of what was sent."""

    outcome: Outcome
    end: float
    gas: Wei


@dataclass(frozen=True, slots=True)
class Course:
    """As the daemon is set: `response_margin` before expiry the result must be there, and `max_run` after the start.

    `attempt_gas`, `submit_gas`: what the two transactions cost.
    """

    competition: Competition = field(default_factory=Competition)
    response_margin: float = 10.0
    max_run: float = 3600.0
    attempt_gas: Wei = 0
    submit_gas: Wei = 0

    def fate(
        self, task: PastTask, delivery: DeliveryMethod, now: float, *, takes: float, pin: float, chain: float
    ) -> Fate:
        """Of a task that is begun now. Seconds: `takes` until the result is there, `pin` until it is published, and

        `chain` until the response is in a block.
        """
        produced, give_up = now + takes, min(task.expiry - self.response_margin, now + self.max_run)
        sent = produced + pin
        rival = self.competition.rival(task, delivery)
        if rival is not None and rival <= min(sent + chain, give_up):
            gas = self.attempt_gas + (self.submit_gas if sent <= rival else 0)
            return Fate(Outcome.LOST, max(now, min(produced, rival)), gas)
        if produced > give_up:
            return Fate(Outcome.FAILED, max(now, give_up), self.attempt_gas)
        paid = self.competition.pays(task, delivery)
        return Fate(Outcome.PAID if paid else Outcome.UNPAID, produced, self.attempt_gas + self.submit_gas)

    def hopeless(self, task: PastTask, delivery: DeliveryMethod) -> float:
        """When a task that was not begun is not worth waiting for any more."""
        ends = [task.expiry - self.response_margin]
        if (rival := self.competition.rival(task, delivery)) is not None:
            ends.append(rival)
        if task.end is TaskStatus.CANCELED and task.ended_at is not None:
            ends.append(task.ended_at)
        return min(ends)
