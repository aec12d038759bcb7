"""What the scheduler knows besides the task: how long it takes here, what it costs, who lets us down, whose hours.

Reads memory only, so that a decision waits for nothing.
"""

from dataclasses import dataclass, field
from datetime import datetime, tzinfo

from ogpu_provider.domain.admission import Candidate
from ogpu_provider.domain.intent import Effect
from ogpu_provider.domain.learnt import Fact, Knowledge
from ogpu_provider.domain.task import AT_WORK, Task, TaskState
from ogpu_provider.domain.units import Address, Wei
from ogpu_provider.domain.week import Hours, within
from ogpu_provider.scheduler.breakers import BreakerPolicy, Breakers
from ogpu_provider.scheduler.circumstances import Circumstances, OpenBreaker
from ogpu_provider.scheduler.estimate import Estimate
from ogpu_provider.scheduler.price import Terms, costs

UNPAID = frozenset({TaskState.CANCELED, TaskState.EXPIRED})
"""Ends that leave work of ours unpaid, once it was begun: the client canceled, or did not confirm."""


@dataclass(frozen=True, slots=True)
class AssessmentPolicy:
    """`quantile` of the runs seen that an estimate counts with; `pin` and `chain`: seconds for publishing a result and

    until the response is in a block. `hours`: when the owner lends the machine, always if empty; in `zone`'s time,
    None: the host's.
    """

    quantile: float = 0.9
    pin: float = 1.0
    chain: float = 2.0
    terms: Terms = field(default_factory=Terms)
    breakers: BreakerPolicy = field(default_factory=BreakerPolicy)
    hours: tuple[Hours, ...] = ()
    zone: tzinfo | None = None


class Assessment:
    """For one daemon. `knowledge` is read, never written."""

    def __init__(self, policy: AssessmentPolicy, knowledge: Knowledge) -> None:
        self._policy = policy
        self._knowledge = knowledge
        self.sources = Breakers(policy.breakers)
        self.clients = Breakers(policy.breakers)

    def circumstances(self, candidate: Candidate) -> Circumstances:
        """As of `candidate.now`."""
        policy, now = self._policy, candidate.now
        moment = datetime.fromtimestamp(now, policy.zone)
        estimate = self.estimate(candidate)
        closed = policy.hours and not within(policy.hours, moment)
        return Circumstances(
            estimate=estimate,
            costs=costs(policy.terms, run_s=estimate.run or 0.0, joules=None, gas=self.gas(), moment=moment),
            source=self._open(self.sources, candidate.source, now),
            client=self._open(self.clients, candidate.client, now),
            closed=", ".join(hours.text for hours in policy.hours) if closed else "",
        )

    def estimate(self, candidate: Candidate) -> Estimate:
        """The start of containers counts only while the project is down."""
        learnt, quantile = self._knowledge, self._policy.quantile
        cold = learnt.quantile(quantile, Fact.COLD_START, candidate.source) if candidate.functions is None else None
        run = learnt.quantile(quantile, Fact.RUN, candidate.source, candidate.function)
        return Estimate(cold=cold or 0.0, run=run, pin=self._policy.pin, chain=self._policy.chain)

    def gas(self) -> Wei | None:
        """What the two transactions of a task cost of late, the median of each; None before both were ever paid."""
        fees = [self._knowledge.quantile(0.5, Fact.GAS, effect) for effect in (Effect.ATTEMPT, Effect.SUBMIT_RESPONSE)]
        return None if None in fees else sum(int(fee or 0) for fee in fees)

    def moved(self, task: Task, before: TaskState, client: Address | None) -> None:
        """A task made a step: a failure of ours counts against its source, work left unpaid against its client."""
        if task.state is TaskState.FAILED and before in AT_WORK:
            self.sources.strike(task.source, task.updated_at)
        elif task.state in UNPAID and before in (TaskState.SUBMITTED, TaskState.RESPONDED) and client:
            self.clients.strike(client, task.updated_at)

    def _open(self, breakers: Breakers, address: Address | None, now: float) -> OpenBreaker | None:
        breaker, policy = breakers.get(address) if address else None, breakers.policy
        if breaker is None or not breaker.is_open(now, policy):
            return None
        return OpenBreaker(breaker.weight_at(now, policy), policy.limit, max(0.0, breaker.closes_at(policy) - now))
