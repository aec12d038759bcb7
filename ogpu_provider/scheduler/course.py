"""What becomes of a task that was accepted, in a replay. Pure; times in unix seconds, amounts in wei."""

from dataclasses import dataclass, field
from enum import StrEnum

from ogpu_provider.domain.history import PastTask
from ogpu_provider.domain.source import DeliveryMethod
from ogpu_provider.domain.units import Wei
from ogpu_provider.scheduler.competition import Competition


class Outcome(StrEnum):
    PAID = "paid"
    UNPAID = "unpaid"  # in time, but its client confirms nobody's response; or it took the task back
    LOST = "lost"  # somebody else's response came first
    FAILED = "failed"  # ran longer than there was time


@dataclass(frozen=True, slots=True)
class Fate:
    """`end`: when it gives its lease back. `gas`: of what was sent. `unpaid_at`: when it was clear that its client
    would not pay for our response; None where it did, or there was none, or it took the task back: that tells nothing.
    """

    outcome: Outcome
    end: float
    gas: Wei
    unpaid_at: float | None = None


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
        canceled = self.competition.canceled_at(task)
        if canceled is not None and canceled <= now + chain:  # once our attempt is in a block, it could not have been
            return Fate(Outcome.UNPAID, max(now, min(produced, canceled)), self.attempt_gas)
        rival = self.competition.rival(task, delivery)
        if rival is not None and rival <= min(sent + chain, give_up):
            gas = self.attempt_gas + (self.submit_gas if sent <= rival else 0)
            return Fate(Outcome.LOST, max(now, min(produced, rival)), gas)
        if produced > give_up:
            return Fate(Outcome.FAILED, max(now, give_up), self.attempt_gas)
        both = self.attempt_gas + self.submit_gas
        if self.competition.pays(task, delivery):
            return Fate(Outcome.PAID, produced, both)
        return Fate(Outcome.UNPAID, produced, both, task.expiry if canceled is None else None)

    def hopeless(self, task: PastTask, delivery: DeliveryMethod) -> float:
        """When a task that was not begun is not worth waiting for any more."""
        ends = (self.competition.rival(task, delivery), self.competition.canceled_at(task))
        return min(at for at in (task.expiry - self.response_margin, *ends) if at is not None)
