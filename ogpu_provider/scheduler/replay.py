"""The past once more, on a host and under terms that may be others: what would have been taken, and what it earned.

Driven by events: a task arrives, the live rules judge it, a lease is held while it runs, what waits looks again when
one is given back. Work that runs out of time, or is left unpaid, counts against its source or its client when that is
known, as it does live. Why else a container would have failed, nobody knows. Pure and deterministic; unix seconds, wei.
"""

import heapq
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from ogpu_provider.domain.admission import Candidate
from ogpu_provider.domain.history import PastTask
from ogpu_provider.domain.resources import Host, task_holder
from ogpu_provider.domain.source import DeliveryMethod
from ogpu_provider.domain.units import Address, Wei
from ogpu_provider.domain.verdict import Ruling
from ogpu_provider.domain.week import Hours
from ogpu_provider.scheduler import missed
from ogpu_provider.scheduler.assessment import Assessment
from ogpu_provider.scheduler.breakers import Breakers
from ogpu_provider.scheduler.circumstances import Circumstances
from ogpu_provider.scheduler.course import Course, Fate, Outcome
from ogpu_provider.scheduler.estimate import Estimate
from ogpu_provider.scheduler.line import LinePolicy
from ogpu_provider.scheduler.price import Costs
from ogpu_provider.scheduler.rules import AdmissionPolicy
from ogpu_provider.scheduler.runs import Basis, Run
from ogpu_provider.scheduler.scheduler import HostScheduler
from ogpu_provider.scheduler.seats import Seat, Seats, Stand, candidate_of
from ogpu_provider.scheduler.sharing import Sharing
from ogpu_provider.scheduler.takings import Takings
from ogpu_provider.scheduler.usage import Usage

NO_ROOM = Ruling("capacity.none", False, "waited for a slot until it was too late")
NO_DEVICES = Ruling("capacity.devices", False, "no device was free for its source")
UNREADABLE = Ruling("source.unreadable", False, "the terms of its source could not be read")
_ALIKE = 100_000
"""Assessments kept at most."""

Period = tuple[Hours | None, Hours | None]
Running = Callable[[PastTask], Run]
"""How long a task would have run here."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A host, and how its operator has set it. `stands`: the sources, in the order in which they get devices.

    `idle_after`: seconds without a task after which a source gives its devices to one that has none; None: never.
    """

    host: Host
    policy: AdmissionPolicy
    course: Course
    stands: Mapping[Address, Stand]
    line: LinePolicy = field(default_factory=LinePolicy)
    sharing: Sharing | None = None
    idle_after: float | None = None


class Replay:
    """From `begin` on: `arrive` in the order of time, `finish` once; `takings` and `usage` then say what came of it,
    and `bases` by what was judged how long tasks run. The breakers of `assessment` change.
    """

    def __init__(self, plan: Plan, assessment: Assessment, running: Running, begin: float) -> None:
        host = plan.host
        self._plan = plan
        self._assessment = assessment
        self._run = running
        self._scheduler = HostScheduler(host, plan.policy, self._circumstances, plan.sharing, plan.line)
        self._seats = Seats(self._scheduler, plan.stands, plan.policy.slots, idle_after=plan.idle_after, begin=begin)
        self._ends: list[tuple[float, int, Address, Seat]] = []
        self._count = 0
        self._running = 0
        self._minute: tuple[int, Period] = (-1, (None, None))
        self._known: dict[tuple[Address, str, bool, Wei, Period], Circumstances] = {}
        self._spent: dict[tuple[Address, str, float | None, Period], Costs] = {}
        self._waiting: dict[Address, PastTask] = {}
        self._queues: dict[Address, Seat] = {}
        self._hopeless: list[tuple[float, int, Address]] = []
        self._strikes: list[tuple[float, int, Breakers, Address]] = []
        self._outbid: list[Address] = []
        self._scheduler.outbid = self._outbid.append
        self.usage = Usage(begin, [device.id for device in host.devices], host.cpu_slots)
        self.takings = Takings()
        self.bases: Counter[Basis] = Counter()

    def arrive(self, tasks: Iterable[PastTask]) -> None:
        for task in tasks:
            self._pass(task.at)
            self.takings.publish(task)
            seat = self._seats.get(task.source)
            if seat is None or seat.stand.refusal is not None:
                refusal = seat.stand.refusal if seat else None
                self.takings.decline(task, (refusal or UNREADABLE,))
            else:
                self.bases[self._run(task).basis] += 1
                self._arrived(task, seat, float(task.at))

    def finish(self, end: float) -> None:
        """Let everything that was begun come to its end; shares count to `end`, or to the last task's, if later."""
        self._pass(math.inf)
        self.usage.close(end)

    def _arrived(self, task: PastTask, seat: Seat, now: float) -> None:
        warm = seat.seated
        if not warm and not self._seats.make_room(task.source, seat, now):
            self.takings.decline(task, (NO_DEVICES,))
        elif not self._decide(task, seat, now, warm=warm):
            self.takings.waited += 1
            seat.waiting += 1
            self._queues[task.source] = seat
            self._waiting[task.task] = task
            hopeless = self._plan.course.hopeless(task, seat.stand.params.delivery)
            heapq.heappush(self._hopeless, (hopeless, self.takings.waited, task.task))
        while self._outbid:  # each lost its place to one that is worth more: it looks again, and is refused
            loser = self._waiting[self._outbid.pop()]
            self._look_again(loser, now)

    def _decide(self, task: PastTask, seat: Seat, now: float, *, warm: bool = True, waited: bool = False) -> bool:
        """Whether it is decided; otherwise all that is missing is room."""
        candidate = candidate_of(task, seat.stand, now, warm=warm, function=self._run(task).function)
        admission = self._scheduler.admit(candidate)
        if not admission.verdict.accepted:
            against = missed.against(admission.verdict.rulings)
            late = waited and against[0].code.startswith("time.")
            self.takings.decline(task, (NO_ROOM,) if late else against)
        elif admission.lease is None:
            return False
        else:
            self._start(task, seat, candidate)
        return True

    def _circumstances(self, candidate: Candidate) -> Circumstances:
        """The live assessment. Nothing is learnt meanwhile, so it is asked once for all that is alike; but breakers."""
        by_hand = candidate.delivery is DeliveryMethod.MANUAL_CONFIRMATION
        key = (
            candidate.source,
            candidate.function,
            candidate.functions is None,
            candidate.payment if by_hand else 0,
            self._period(candidate.now),
        )
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= _ALIKE:
                self._known.clear()
            found = self._known[key] = self._assessment.lasting(candidate)
        return self._assessment.with_breakers(found, candidate)

    def _period(self, now: float) -> Period:
        minute = int(now // 60)
        if minute != self._minute[0]:
            self._minute = minute, self._assessment.period(now)
        return self._minute[1]

    # a task's way

    def _start(self, task: PastTask, seat: Seat, candidate: Candidate) -> None:
        now, found = candidate.now, self._circumstances(candidate)
        estimate = found.estimate
        takes = estimate.pull + estimate.cold + self._run(task).seconds
        fate = self._plan.course.fate(
            task, candidate.delivery, now, takes=takes, pin=estimate.pin, chain=estimate.chain
        )
        pays = task.payment if found.bid is None else found.bid
        spent = self._costs(candidate, replace(estimate, run=fate.end - now))
        self.takings.end(task, fate.outcome, pays=pays, gas=fate.gas, energy=spent.energy, rate=spent.rate)
        self._count += 1
        self._running += seat.slots
        seat.running += seat.slots
        heapq.heappush(self._ends, (fate.end, self._count, task.task, seat))
        self.usage.begin(now, seat.devices)
        self._let_down(candidate, fate)

    def _let_down(self, candidate: Candidate, fate: Fate) -> None:
        """What its source, or its client, will have done to us."""
        if fate.outcome is Outcome.FAILED:
            strike = fate.end, self._count, self._assessment.sources, candidate.source
            heapq.heappush(self._strikes, strike)
        elif fate.unpaid_at is not None and candidate.client is not None:
            strike = fate.unpaid_at, self._count, self._assessment.clients, candidate.client
            heapq.heappush(self._strikes, strike)

    def _costs(self, candidate: Candidate, estimate: Estimate) -> Costs:
        """Of a run as long as the estimate says; gas is another matter."""
        key = candidate.source, candidate.function, estimate.run, self._period(candidate.now)
        found = self._spent.get(key)
        if found is None:
            if len(self._spent) >= _ALIKE:
                self._spent.clear()
            found = self._spent[key] = self._assessment.costs(candidate, estimate)
        return found

    def _pass(self, now: float) -> None:
        """Whatever happens until now, in its order: strikes, hope that ends, leases; what waits looks in between."""
        while True:
            end = self._ends[0][0] if self._ends else math.inf
            hope = self._hopeless[0][0] if self._hopeless else math.inf
            if self._strikes and self._strikes[0][0] <= min(hope, end, now):
                at, _, breakers, address = heapq.heappop(self._strikes)
                breakers.strike(address, at)
            elif self._hopeless and hope <= min(end, now):
                self._give_up(heapq.heappop(self._hopeless)[2])
            elif self._ends and end <= now:
                at, _, task, seat = heapq.heappop(self._ends)
                self._scheduler.release(task_holder(task))
                self.usage.end(at, seat.devices)
                self._running -= seat.slots
                seat.running -= seat.slots
                seat.idle_since = at
                self._look(at)
            else:
                return

    def _look(self, now: float) -> None:
        """Of each source the task whose turn is first, then the next of those from which one got in."""
        sources = [source for source, seat in self._queues.items() if self._has_room(seat)]
        while sources:
            moved = []
            for task in self._scheduler.firsts(sources, now):
                past = self._waiting[task]
                if self._has_room(self._queues[past.source]) and self._look_again(past, now):
                    moved.append(past.source)
            sources = [source for source in moved if (seat := self._queues.get(source)) and self._has_room(seat)]

    def _look_again(self, task: PastTask, now: float) -> bool:
        if not self._decide(task, self._queues[task.source], now, waited=True):
            return False
        self._leave(task)
        return True

    def _give_up(self, name: Address) -> None:
        task = self._waiting.get(name)
        if task is not None:
            self._scheduler.release(task_holder(name))
            self.takings.decline(task, (NO_ROOM,))
            self._leave(task)

    def _leave(self, task: PastTask) -> None:
        seat = self._queues[task.source]
        seat.waiting -= 1
        if not seat.waiting:
            del self._queues[task.source]
        del self._waiting[task.task]

    def _has_room(self, seat: Seat) -> bool:
        """Whether a lease could be had at all: asked first, because to judge all those that wait costs more."""
        return self._running + seat.slots <= self._plan.host.cpu_slots and seat.running + seat.slots <= seat.limit
