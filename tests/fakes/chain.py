"""The Chain port over contracts in memory, with the rules of the protocol that the port's answers show.

The verbs of other people (`publish_source`, `publish_task`, `attempt`, ...) are methods too and return the fact that
the real contract would have logged, so that a test can hand it to the intake.
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import count

from ogpu_provider.chain import contracts
from ogpu_provider.chain.contracts import Calldata
from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.errors import RpcRejected
from ogpu_provider.domain.facts import (
    Attempted,
    Block,
    Fact,
    Origin,
    Registered,
    RemoveContainer,
    ResponseSubmitted,
    SourcePublished,
    SourceStatusChanged,
    SourceUpdated,
    TaskPublished,
    TaskStatus,
    TaskStatusChanged,
    TaskView,
)
from ogpu_provider.domain.intent import Effect, Intent
from ogpu_provider.domain.source import DeliveryMethod, Environment, SourceParams, SourceStatus
from ogpu_provider.domain.units import Address, Hash, Wei

CHAIN_ID = 200820172034
NEXUS = Address("0xF87bb2f3edB991a998992f14d35fE142e6Bb50b1")
US = contracts.checksummed("0x" + "a1" * 20)
OTHER = contracts.checksummed("0x" + "b2" * 20)
CLIENT = contracts.checksummed("0x" + "c3" * 20)


@dataclass
class _Task:
    view: TaskView
    delivery: DeliveryMethod
    attempters: list[Address] = field(default_factory=list)
    responses: dict[Address, Address] = field(default_factory=dict)


class FakeChain:
    """`provider` is us. `calls` counts the port's methods; an error in `failures` is raised by the next call."""

    def __init__(self, clock: Clock, provider: Address = US, *, chain_id: int = CHAIN_ID) -> None:
        self._clock = clock
        self._provider = provider
        self._chain_id = chain_id
        self._numbers = count(1)
        self._sources: dict[Address, SourceParams] = {}
        self._tasks: dict[Address, _Task] = {}
        self._registrations: dict[tuple[Address, Address], Environment] = {}
        self.calls: Counter[str] = Counter()
        self.failures: list[Exception] = []
        self.height = 0

    # the port

    @property
    def provider(self) -> Address:
        return self._provider

    async def published(self, task: Address) -> TaskView:
        self._asked("published")
        view = self._task(task).view
        return TaskView(view.address, view.source, view.config_url, view.expiry, view.payment, TaskStatus.NEW)

    async def standing(self, task: Address) -> TaskView:
        self._asked("standing")
        return self._standing(task)

    async def winner(self, task: Address) -> Address | None:
        self._asked("winner")
        return self._task(task).view.winner

    async def open_tasks(self, source: Address) -> list[TaskView]:
        self._asked("open_tasks")
        self._source(source)
        of_source = [task for task, one in self._tasks.items() if one.view.source == source]
        views = [self._standing(task) for task in reversed(of_source)]
        return [view for view in views if not view.status.over and view.expiry > self._clock.now()]

    async def source(self, source: Address) -> SourceParams:
        self._asked("source")
        return self._source(source)

    async def all_sources(self) -> list[Address]:
        self._asked("all_sources")
        return list(self._sources)

    async def registered_environment(self, source: Address) -> Environment | None:
        self._asked("registered_environment")
        self._source(source)
        return self._registrations.get((source, self._provider))

    def intent_attempt(self, task: Address, payment: Wei, deadline: float) -> Intent:
        what = contracts.attempt(NEXUS, task, self._provider, payment)
        return self._intent(Effect.ATTEMPT, task, what, deadline)

    def intent_submit(self, task: Address, link: str, payment: Wei, deadline: float) -> Intent:
        what = contracts.submit_response(NEXUS, task, self._provider, link, payment)
        return self._intent(Effect.SUBMIT_RESPONSE, task, what, deadline)

    def intent_register(self, source: Address, environment: Environment) -> Intent:
        return self._intent(
            Effect.REGISTER, source, contracts.register(NEXUS, source, self._provider, environment), None
        )

    def intent_unregister(self, source: Address) -> Intent:
        what = contracts.unregister(NEXUS, source, self._provider)
        return self._intent(Effect.UNREGISTER, source, what, None)

    # what others do, and what our transactions do once they are in a block

    def block(self, timestamp: int | None = None) -> Block:
        """The next block; facts made after it are in it."""
        self.height += 1
        at = int(self._clock.now()) if timestamp is None else timestamp
        return Block(self.height, _hash(self.height), _hash(self.height - 1), at, 10**9)

    def publish_source(
        self,
        *,
        environments: frozenset[Environment] = frozenset({Environment.CPU}),
        metadata_url: str = "https://example.org/metadata.json",
        min_payment: Wei = 10**16,
        max_expiry: int = 3600,
        delivery: DeliveryMethod = DeliveryMethod.FIRST_RESPONSE,
    ) -> SourcePublished:
        source = self._new_address()
        self._sources[source] = SourceParams(
            address=source,
            client=CLIENT,
            metadata_url=metadata_url,
            environments=environments,
            min_payment=min_payment,
            min_available_lockup=0,
            max_expiry_duration=max_expiry,
            delivery=delivery,
            last_update=int(self._clock.now()),
            status=SourceStatus.ACTIVE,
        )
        return SourcePublished(self._origin(), source)

    def update_source(self, source: Address, metadata_url: str) -> SourceUpdated:
        params = replace(self._source(source), metadata_url=metadata_url, last_update=int(self._clock.now()))
        self._sources[source] = params
        return SourceUpdated(self._origin(), source)

    def inactivate_source(self, source: Address) -> SourceStatusChanged:
        self._sources[source] = replace(self._source(source), status=SourceStatus.INACTIVE)
        return SourceStatusChanged(self._origin(), source, SourceStatus.INACTIVE)

    def remove_container(self, source: Address, provider: Address | None = None) -> RemoveContainer:
        return RemoveContainer(self._origin(), provider or self._provider, source)

    def register(
        self, source: Address, provider: Address | None = None, environment: Environment = Environment.CPU
    ) -> Registered:
        self._source(source)
        provider = provider or self._provider
        self._registrations[source, provider] = environment
        return Registered(self._origin(), provider, source, environment)

    def unregister(self, source: Address, provider: Address | None = None) -> None:
        del self._registrations[source, provider or self._provider]

    def publish_task(
        self,
        source: Address,
        *,
        payment: Wei = 10**18,
        lasts: int = 600,
        config_url: str = "https://example.org/c.json",
    ) -> TaskPublished:
        params = self._source(source)
        if params.status is SourceStatus.INACTIVE:
            raise RpcRejected("SourceInactive")
        task = self._new_address()
        view = TaskView(task, source, config_url, int(self._clock.now()) + lasts, payment, TaskStatus.NEW)
        self._tasks[task] = _Task(view, params.delivery)
        return TaskPublished(self._origin(), task, source)

    def attempt(self, task: Address, provider: Address | None = None, tx: Hash | None = None) -> list[Fact]:
        """After the expiry it only marks the task EXPIRED, as the protocol has it."""
        one, who = self._task(task), provider or self._provider
        self._must_be_open(one)
        if one.view.expiry < self._clock.now():
            return [self._status(one, TaskStatus.EXPIRED, tx)]
        if who in one.attempters:
            raise RpcRejected("AlreadyAttempted")
        one.attempters.append(who)
        facts: list[Fact] = [Attempted(self._origin(tx), task, who, one.view.payment)]
        if one.view.status is TaskStatus.NEW:
            facts.append(self._status(one, TaskStatus.ATTEMPTED, tx))
        return facts

    def submit(self, task: Address, provider: Address | None = None, tx: Hash | None = None) -> list[Fact]:
        one, who = self._task(task), provider or self._provider
        self._must_be_open(one)
        if who not in one.attempters or who in one.responses or one.view.expiry < self._clock.now():
            raise RpcRejected("NotAttempted, AlreadySubmitted or Expired")
        response = self._new_address()
        one.responses[who] = response
        facts: list[Fact] = [ResponseSubmitted(self._origin(tx), response, task)]
        if one.view.status is not TaskStatus.RESPONDED:
            facts.append(self._status(one, TaskStatus.RESPONDED, tx))
        if one.delivery is DeliveryMethod.FIRST_RESPONSE:
            facts.append(self.confirm(task, who, tx))
        return facts

    def confirm(self, task: Address, provider: Address | None = None, tx: Hash | None = None) -> TaskStatusChanged:
        one = self._task(task)
        one.view = replace(one.view, winner=provider or self._provider)
        return self._status(one, TaskStatus.FINALIZED, tx)

    def cancel(self, task: Address) -> TaskStatusChanged:
        one = self._task(task)
        if one.view.status is not TaskStatus.NEW:
            raise RpcRejected("only a new task can be canceled")
        return self._status(one, TaskStatus.CANCELED)

    # inside

    def _asked(self, method: str) -> None:
        self.calls[method] += 1
        if self.failures:
            raise self.failures.pop(0)

    def _standing(self, task: Address) -> TaskView:
        one = self._task(task)
        return replace(
            one.view,
            attempted_by_us=self._provider in one.attempters,
            our_response=one.responses.get(self._provider),
        )

    def _task(self, task: Address) -> _Task:
        if task not in self._tasks:
            raise contracts.Malformed("empty answer", code="chain.empty_answer")
        return self._tasks[task]

    def _source(self, source: Address) -> SourceParams:
        if source not in self._sources:
            raise contracts.Malformed("empty answer", code="chain.empty_answer")
        return self._sources[source]

    def _must_be_open(self, one: _Task) -> None:
        if one.view.status.over:
            raise RpcRejected(f"the task is {one.view.status.name}")

    def _status(self, one: _Task, status: TaskStatus, tx: Hash | None = None) -> TaskStatusChanged:
        one.view = replace(one.view, status=status)
        return TaskStatusChanged(self._origin(tx), one.view.address, status)

    def _intent(self, effect: Effect, subject: Address, what: Calldata, deadline: float | None) -> Intent:
        return Intent(f"{self._chain_id}:{effect}:{subject}", effect, subject, what.to, what.data, deadline)

    def _new_address(self) -> Address:
        return contracts.checksummed(f"0x{next(self._numbers) + 0xABC0000:040x}")

    def _origin(self, tx: Hash | None = None) -> Origin:
        number = next(self._numbers)
        return Origin(self.height, _hash(self.height), tx or Hash(f"0x{number + (1 << 200):064x}"), number)


def _hash(number: int) -> Hash:
    return Hash(f"0x{max(number, 0) + (1 << 100):064x}")
