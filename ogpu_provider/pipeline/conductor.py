"""Moves every task along the path: run the stage of its state, save what the stage returns, repeat.

The only writer of task rows besides the intake's inserts. A save is guarded by the row's version, so a stage and
a chain fact may race: the first to save wins, the other reads again. A lease is held exactly while the saved
state is one of HOLDING, so no path can leak one.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import structlog

from ogpu_provider.domain.errors import ProviderError, Retry, RpcUnavailable, StaleRow
from ogpu_provider.domain.intent import Effect, IntentRow, IntentState
from ogpu_provider.domain.killpoints import reach
from ogpu_provider.domain.resources import task_holder
from ogpu_provider.domain.task import AT_WORK, Step, Task, TaskState, Transition, Wait
from ogpu_provider.domain.units import Address
from ogpu_provider.domain.verdict import Reason
from ogpu_provider.pipeline.ports import Ports
from ogpu_provider.pipeline.recovery import decide
from ogpu_provider.pipeline.stages import STAGES
from ogpu_provider.pipeline.standing import refused

log = structlog.get_logger()

BEFORE_ATTEMPT = frozenset({TaskState.SEEN, TaskState.ADMITTED, TaskState.READY})
Observer = Callable[[Task, TaskState], None]


@dataclass(slots=True)
class _Driver:
    """The loop of one live task. `waiting` is what it waits for, empty while a stage runs."""

    wake: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: str = ""
    source: Address | None = None
    state: TaskState = TaskState.SEEN


class Conductor:
    """`observe` is told of every saved step (task, state before); it must not block."""

    def __init__(self, ports: Ports, observe: Observer | None = None) -> None:
        self._ports = ports
        self._observe = observe
        self._drivers: dict[Address, _Driver] = {}
        self._group: asyncio.TaskGroup | None = None
        self._started = asyncio.Event()

    async def run(self) -> None:
        """Drive every live task until canceled. What was in flight stays in the journal."""
        async with asyncio.TaskGroup() as self._group:
            for task in await self._ports.journal.live():
                if task.lease:
                    self._ports.scheduler.restore(task.lease)
                self.start(task)
            self._started.set()
            await asyncio.Event().wait()

    async def started(self) -> None:
        """Returns when live tasks were taken up and new ones may be started."""
        await self._started.wait()

    def start(self, task: Task) -> None:
        assert self._group is not None, "the conductor is not running"
        if task.address in self._drivers or task.state.over:
            return
        self._drivers[task.address] = _Driver(source=task.source, state=task.state)
        self._group.create_task(self._drive(task), name=f"task {task.address}")

    def nudge(self, task: Address) -> None:
        """Something was heard of a task: its stage is run again."""
        if driver := self._drivers.get(task):
            driver.wake.set()

    def nudge_source(self, source: Address) -> None:
        for driver in self._drivers.values():
            if driver.source == source:
                driver.wake.set()

    def nudge_settling(self) -> None:
        """A new head: tasks that wait for depth look again."""
        for driver in self._drivers.values():
            if driver.state in (TaskState.SUBMITTED, TaskState.RESPONDED):
                driver.wake.set()

    def busy(self, source: Address) -> bool:
        """Whether a task of the source is somewhere between admission and its response."""
        return any(d.source == source and d.state in AT_WORK for d in self._drivers.values())

    def follows(self, task: Address) -> bool:
        """Whether the task is live, so that what happens to it on chain matters here."""
        return task in self._drivers

    def waits(self) -> dict[Address, str]:
        """What each live task waits for; empty while its stage runs."""
        return {address: driver.waiting for address, driver in self._drivers.items()}

    async def apply(self, address: Address, decide: Callable[[Task], Transition | Mapping[str, object] | None]) -> None:
        """Let a fact act on a row: `decide` gives a transition, changed fields, or None; then the task goes on."""
        while True:
            task = await self._ports.journal.task(address)
            if task is None:
                return
            outcome = decide(task)
            try:
                if isinstance(outcome, Transition):
                    await self._save(task, outcome)
                elif outcome:
                    await self._ports.journal.amend(task, outcome, at=self._ports.clock.now())
            except StaleRow:
                continue
            self.nudge(address)
            return

    async def on_intent(self, row: IntentRow) -> None:
        """A transaction of ours came to its end. What succeeded was told by the logs; now it is deep enough."""
        self.nudge(row.intent.subject)
        failed = row.state in (IntentState.REVERTED, IntentState.ABANDONED)
        if not failed or row.intent.effect not in (Effect.ATTEMPT, Effect.SUBMIT_RESPONSE):
            return
        view = await self._ports.chain.standing(row.intent.subject)
        now = self._ports.head.now(self._ports.clock)
        step = refused(view, self._ports.chain.provider, row.intent.effect, now)
        if step:
            await self.apply(row.intent.subject, lambda task: None if task.state.over else step)

    async def recover(self, address: Address) -> None:
        """Compare a live row with chain and engine, for what was never heard. See `recovery` for the table."""
        ports = self._ports
        view = await ports.chain.standing(address)
        intents = await ports.journal.intents_of(address)
        result = await ports.journal.result(address) is not None
        up = await self._is_up(address)

        def look(task: Task) -> Transition | Mapping[str, object] | None:
            decision = decide(
                task,
                view,
                intents,
                provider=ports.chain.provider,
                up=up,
                result=result,
                now=ports.head.now(ports.clock),
                block=ports.head.block.number if ports.head.block else 0,
            )
            log.info("task_recovered", task=address, state=task.state, row=decision.row)
            return decision.step or decision.changes or None

        await self.apply(address, look)

    async def _is_up(self, address: Address) -> bool:
        task = await self._ports.journal.task(address)
        try:
            if task is not None:
                await self._ports.runtime.health(task.source)
        except ProviderError:
            return False
        return task is not None

    async def _drive(self, task: Task) -> None:
        driver = self._drivers[task.address]
        tries = 0
        try:
            while not task.state.over:
                driver.state, driver.waiting = task.state, ""
                driver.wake.clear()
                step = await self._step(task, tries)
                tries = tries + 1 if isinstance(step, _Retry) else 0
                try:
                    if isinstance(step, Transition):
                        task = await self._save(task, step)
                        continue
                    if step.changes:
                        await self._keep(task, step.changes)
                    driver.waiting = step.why
                    await self._wait(driver, step.until)
                except StaleRow:
                    pass
                task = await self._reload(task)
        finally:
            del self._drivers[task.address]

    async def _step(self, task: Task, tries: int) -> Step:
        try:
            return await STAGES[task.state](task, self._ports)
        except ProviderError as error:
            return self._on_error(task, error, tries)
        except Exception:
            log.exception("stage_crashed", task=task.address, state=task.state)
            reason = Reason("internal", f"a defect in stage {task.state}; see the daemon's log")
            return Transition(_end_of(task), reasons=(reason,))

    def _on_error(self, task: Task, error: ProviderError, tries: int) -> Step:
        policy = self._ports.policy
        now = self._ports.head.now(self._ports.clock)
        pause = 0.0 if error.retry is Retry.NOW else min(policy.retry_pause * 2**tries, policy.retry_pause_max)
        limit = task.expiry or now + policy.max_run
        patient = task.state not in BEFORE_ATTEMPT or tries + 1 < policy.tries_before_attempt
        if isinstance(error, RpcUnavailable):  # says nothing about the task, and tasks are not read meanwhile either
            patient, pause = True, min(pause, policy.outage_pause_max)
        if error.retry is not Retry.NEVER and patient and now + pause < limit:
            log.info("stage_retries", task=task.address, state=task.state, code=error.code, error=str(error))
            return _Retry(now + pause, f"{error.code}: {error}")
        return Transition(_end_of(task), reasons=(Reason(error.code, str(error)),))

    async def _keep(self, task: Task, changes: Mapping[str, object]) -> None:
        """Fields that a stage learnt (a container accepted the call) must not be lost to a racing fact."""
        state = task.state
        while task.state is state:
            try:
                await self._ports.journal.amend(task, changes, at=self._ports.clock.now())
            except StaleRow:
                task = await self._reload(task)
            else:
                return

    async def _wait(self, driver: _Driver, until: float) -> None:
        """Until nudged, or until `until` in the time that the stages see."""
        pause = until - self._ports.head.now(self._ports.clock)
        if pause <= 0:
            return
        wake = asyncio.ensure_future(driver.wake.wait())
        sleep = asyncio.ensure_future(self._ports.clock.sleep(min(pause, 86_400.0)))
        try:
            await asyncio.wait({wake, sleep}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            wake.cancel()
            sleep.cancel()

    async def _reload(self, task: Task) -> Task:
        row = await self._ports.journal.task(task.address)
        assert row is not None, "rows are never deleted while they are live"
        return row

    async def _save(self, task: Task, step: Transition) -> Task:
        reach(f"task.{step.to}.unsaved")
        saved = await self._ports.journal.save(task, step, at=self._ports.clock.now(), boot=self._ports.boot)
        reach(f"task.{step.to}.saved")
        if step.intent is not None:
            self._ports.sender.wake()
        if driver := self._drivers.get(task.address):
            driver.state = saved.state
        if saved.lease is None and self._ports.scheduler.release(task_holder(saved.address)):
            self.nudge_seen()
        self._tell(saved, task.state, step)
        if task.state is TaskState.EXECUTING and saved.state is not TaskState.EXECUTING and self._group:
            self._group.create_task(self._keep_logs(task), name=f"logs {task.address}")
        if saved.state is TaskState.SEEN:
            self.start(saved)
        return saved

    def _tell(self, task: Task, before: TaskState, step: Transition) -> None:
        extra = {"code": task.code, "reason": task.reason} if task.state.over and task.code else {}
        log.info(f"task_{task.state}", task=task.address, source=task.source, function=task.function, **extra)
        if self._observe:
            self._observe(task, before)

    async def _keep_logs(self, task: Task) -> None:
        """From before the container was called: a quick handler prints before its 202 is written down."""
        try:
            lines = await self._ports.journal.history(task.address)
            called = max((line.at for line in lines if line.after is TaskState.EXECUTING), default=task.seen_at)
            await self._ports.runtime.keep_logs(task.source, task.address, called)
        except ProviderError as error:
            log.warning("task_logs_not_kept", task=task.address, code=error.code, error=str(error))

    def nudge_seen(self) -> None:
        """There is room again, or the operator changed his mind: tasks that are not admitted look again."""
        for driver in self._drivers.values():
            if driver.state is TaskState.SEEN and driver.waiting:
                driver.wake.set()


class _Retry(Wait):
    """A wait that counts as a failed try."""


def _end_of(task: Task) -> TaskState:
    return TaskState.DECLINED if task.state in BEFORE_ATTEMPT else TaskState.FAILED
