"""What a replay comes to: what was taken and declined, what it paid and cost. Pure; amounts in wei."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ogpu_provider.domain.history import PastTask
from ogpu_provider.domain.units import Address, Wei
from ogpu_provider.domain.verdict import Ruling
from ogpu_provider.scheduler.course import Outcome
from ogpu_provider.scheduler.missed import Misses


@dataclass(slots=True)
class Sum:
    """So many tasks, and what was offered for them."""

    tasks: int = 0
    worth: Wei = 0

    def add(self, worth: Wei) -> None:
        self.tasks += 1
        self.worth += worth


@dataclass(slots=True)
class Books:
    """Of one source, or of all. What was accepted was paid, unpaid (not confirmed by its client), lost or failed."""

    published: Sum = field(default_factory=Sum)
    paid: Sum = field(default_factory=Sum)
    unpaid: Sum = field(default_factory=Sum)
    lost: Sum = field(default_factory=Sum)
    failed: Sum = field(default_factory=Sum)
    declined: Sum = field(default_factory=Sum)
    income: Wei = 0
    gas: Wei = 0
    energy: Wei = 0
    rate: Wei = 0

    def of(self, outcome: Outcome) -> Sum:
        match outcome:
            case Outcome.PAID:
                return self.paid
            case Outcome.UNPAID:
                return self.unpaid
            case Outcome.LOST:
                return self.lost
            case Outcome.FAILED:
                return self.failed

    @property
    def accepted(self) -> int:
        return self.paid.tasks + self.unpaid.tasks + self.lost.tasks + self.failed.tasks

    @property
    def net(self) -> Wei:
        """Income less gas and energy. The operator's rate is nobody's bill and stays apart."""
        return self.income - self.gas - self.energy


class Takings:
    """Each published task ends in exactly one of declined, paid, unpaid, lost and failed."""

    def __init__(self) -> None:
        self.all = Books()
        self.by_source: dict[Address, Books] = {}
        self.declined = Misses()
        self.waited = 0

    def publish(self, task: PastTask) -> None:
        for books in self._of(task):
            books.published.add(task.payment)

    def decline(self, task: PastTask, against: Sequence[Ruling]) -> None:
        self.declined.add(task.payment, against)
        for books in self._of(task):
            books.declined.add(task.payment)

    def end(self, task: PastTask, outcome: Outcome, *, pays: Wei, gas: Wei, energy: Wei, rate: Wei) -> None:
        """`pays`: what we asked for, and are given where it is paid."""
        for books in self._of(task):
            books.of(outcome).add(task.payment)
            books.income += pays if outcome is Outcome.PAID else 0
            books.gas += gas
            books.energy += energy
            books.rate += rate

    def _of(self, task: PastTask) -> tuple[Books, Books]:
        books = self.by_source.get(task.source)
        if books is None:
            books = self.by_source[task.source] = Books()
        return self.all, books
