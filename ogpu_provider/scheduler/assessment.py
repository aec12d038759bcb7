"""What the scheduler knows besides the task: how long it takes here, what it costs, who lets us down, whose hours.

Reads memory only, so that a decision waits for nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, tzinfo
from fractions import Fraction

from ogpu_provider.domain.admission import Candidate
from ogpu_provider.domain.intent import Effect
from ogpu_provider.domain.learnt import Fact, Key, Knowledge
from ogpu_provider.domain.source import DeliveryMethod
from ogpu_provider.domain.task import AT_WORK, Task, TaskState
from ogpu_provider.domain.units import Address, Wei
from ogpu_provider.domain.week import Hours, within
from ogpu_provider.scheduler.bids import FULL, Auction, Bid, strategy
from ogpu_provider.scheduler.breakers import BreakerPolicy, Breakers
from ogpu_provider.scheduler.circumstances import Circumstances, OpenBreaker
from ogpu_provider.scheduler.estimate import Estimate
from ogpu_provider.scheduler.price import Costs, Terms, costs

UNPAID = frozenset({TaskState.CANCELED, TaskState.EXPIRED})
"""Ends that leave work of ours unpaid, once it was begun: the client canceled, or did not confirm."""


@dataclass(frozen=True, slots=True)
class AssessmentPolicy:
    """`quantile` of the runs seen that an estimate counts with. Seconds: `pin` for publishing a result, until it was
    measured; `chain` until the response is in a block. `hours`: when the owner lends the machine, always if empty; in
    `zone`'s time, None: the host's. `bid`: what to ask for where the client confirms.
    """

    quantile: float = 0.9
    pin: float = 1.0
    chain: float = 2.0
    terms: Terms = field(default_factory=Terms)
    breakers: BreakerPolicy = field(default_factory=BreakerPolicy)
    bid: Bid = field(default_factory=lambda: strategy(FULL))
    bid_by_source: Mapping[Address, Bid] = field(default_factory=dict)
    hours: tuple[Hours, ...] = ()
    zone: tzinfo | None = None


@dataclass(frozen=True, slots=True)
class Strike:
    """Somebody let us down, at a time: what is to be kept of it."""

    key: Key
    at: float


class Assessment:
    """For one daemon. `knowledge` is read, never written. `coin_price` goes before the one in the terms; `in_use` says
    who is at the machine, if its owner wants it back then; `lowest` is what others ask for a task.
    """

    def __init__(
        self,
        policy: AssessmentPolicy,
        knowledge: Knowledge,
        *,
        coin_price: Callable[[], Fraction | None] | None = None,
        in_use: Callable[[], str] = lambda: "",
        lowest: Callable[[Address], Wei | None] = lambda _: None,
    ) -> None:
        self._policy = policy
        self._knowledge = knowledge
        self._coin_price = coin_price
        self._in_use = in_use
        self._lowest = lowest
        self.sources = Breakers(policy.breakers)
        self.clients = Breakers(policy.breakers)

    def restore(self, now: float) -> list[Key]:
        """Breakers as an earlier run left them. Returns what weighs nothing any more, and need not be kept."""
        gone = []
        for fact, breakers in self._breakers():
            for learnt in self._knowledge.all(fact):
                breakers.restore(Address(learnt.key.subject), learnt.recent)
            gone += [Key(fact, address) for address in breakers.forget(now)]
        return gone

    def forget(self, now: float) -> list[Key]:
        """Breakers that have decayed; they are gone after this."""
        return [Key(fact, address) for fact, breakers in self._breakers() for address in breakers.forget(now)]

    def _breakers(self) -> tuple[tuple[Fact, Breakers], ...]:
        return (Fact.FAILED, self.sources), (Fact.UNPAID, self.clients)

    def circumstances(self, candidate: Candidate) -> Circumstances:
        """As of `candidate.now`."""
        return self.with_breakers(self.lasting(candidate), candidate)

    def with_breakers(self, found: Circumstances, candidate: Candidate) -> Circumstances:
        """As they are at `candidate.now`; `found` has none."""
        source = self._open(self.sources, candidate.source, candidate.now)
        client = self._open(self.clients, candidate.client, candidate.now)
        return found if source is None and client is None else replace(found, source=source, client=client)

    def lasting(self, candidate: Candidate) -> Circumstances:
        """All but the breakers, which change with every second."""
        policy, now = self._policy, candidate.now
        estimate = self.estimate(candidate)
        spent = self.costs(candidate, estimate)
        closed = policy.hours and not within(policy.hours, datetime.fromtimestamp(now, policy.zone))
        return Circumstances(
            estimate=estimate,
            costs=spent,
            closed=", ".join(hours.text for hours in policy.hours) if closed else "",
            in_use=self._in_use(),
            bid=self._bid(candidate, spent),
            chance=self._chance(candidate.source),
        )

    def period(self, now: float) -> tuple[Hours | None, Hours | None]:
        """The owner's hours and the tariff's that it is: all that `lasting` circumstances have of the time. Both change

        with a full minute only.
        """
        moment = datetime.fromtimestamp(now, self._policy.zone)
        windows = (hours for hours, _ in self._policy.terms.tariff.windows)
        return within(self._policy.hours, moment), within(windows, moment)

    def estimate(self, candidate: Candidate) -> Estimate:
        """The images and the start of containers count only while the project is down."""
        learnt, quantile = self._knowledge, self._policy.quantile
        run = learnt.quantile(quantile, Fact.RUN, candidate.source, candidate.function)
        pin = learnt.quantile(quantile, Fact.PIN)
        estimate = Estimate(run=run, pin=self._policy.pin if pin is None else pin, chain=self._policy.chain)
        if candidate.functions is not None:
            return estimate
        cold, rate = learnt.quantile(quantile, Fact.COLD_START, candidate.source), learnt.mean(Fact.PULL_RATE)
        pull = candidate.pull_left / rate if rate else 0.0
        return replace(estimate, pull=pull, cold=cold or 0.0, unmeasured=0 if rate else candidate.pull_left)

    def costs(self, candidate: Candidate, estimate: Estimate) -> Costs:
        """Energy as it was metered for the function, by the middle of its runs."""
        moment = datetime.fromtimestamp(candidate.now, self._policy.zone)
        terms = self._policy.terms
        if self._coin_price is not None:
            terms = replace(terms, coin_price=self._coin_price())
        joules = self._knowledge.quantile(0.5, Fact.ENERGY, candidate.source, candidate.function)
        return costs(terms, run_s=estimate.run or 0.0, joules=joules, gas=self.gas(), moment=moment)

    def _chance(self, source: Address) -> float:
        """1 while nothing is known; never quite 0, for that would be for ever."""
        won = self._knowledge.mean(Fact.WON, source)
        return 1.0 if won is None else max(0.05, won)

    def _bid(self, candidate: Candidate, spent: Costs) -> Wei | None:
        """A first response is paid in full whatever was suggested, and what is owed was suggested by somebody else."""
        if candidate.delivery is not DeliveryMethod.MANUAL_CONFIRMATION or candidate.obliged:
            return None
        own = self._policy.bid_by_source.get(candidate.source, self._policy.bid)
        won = self._knowledge.get(Fact.WON, candidate.source)
        outcomes = won.recent if won else ()
        return own(
            Auction(
                payment=candidate.payment,
                costs=spent.total,
                won=int(sum(outcomes)),
                bids=len(outcomes),
                lowest=self._lowest(candidate.task),
            )
        )

    def gas(self) -> Wei | None:
        """What the two transactions of a task cost of late, the median of each; None before both were ever paid."""
        fees = [self._knowledge.quantile(0.5, Fact.GAS, effect) for effect in (Effect.ATTEMPT, Effect.SUBMIT_RESPONSE)]
        return None if None in fees else sum(int(fee or 0) for fee in fees)

    def moved(self, task: Task, before: TaskState, client: Address | None) -> Strike | None:
        """A task made a step: a failure of ours counts against its source, work left unpaid against its client."""
        if task.state is TaskState.FAILED and before in AT_WORK:
            self.sources.strike(task.source, task.updated_at)
            return Strike(Key(Fact.FAILED, task.source), task.updated_at)
        if task.state in UNPAID and before in (TaskState.SUBMITTED, TaskState.RESPONDED) and client:
            self.clients.strike(client, task.updated_at)
            return Strike(Key(Fact.UNPAID, client), task.updated_at)
        return None

    def _open(self, breakers: Breakers, address: Address | None, now: float) -> OpenBreaker | None:
        breaker, policy = breakers.get(address) if address else None, breakers.policy
        if breaker is None or not breaker.is_open(now, policy):
            return None
        return OpenBreaker(breaker.weight_at(now, policy), policy.limit, max(0.0, breaker.closes_at(policy) - now))
