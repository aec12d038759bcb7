"""Moves every task along the path: run the stage of its state, save what the stage returns, repeat.

The only writer of task rows besides the intake's inserts, so the newest row of a live task is known without reading
it. A save is guarded by the row's version, so a stage and a chain fact may race: the first to save wins, the other
looks again. Stages that touch nothing run ahead, and their steps are saved together: one commit from SEEN to the
attempt's intent. A lease is held exactly while the saved state is one of HOLDING, so no path can leak one.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence

import structlog

from ogpu_provider.domain.errors import KnownIntent, ProviderError, StaleRow
from ogpu_provider.domain.killpoints import reach
from ogpu_provider.domain.resources import task_holder
from ogpu_provider.domain.task import Step, Task, TaskState, Transition, Wait
from ogpu_provider.domain.together import begin
from ogpu_provider.domain.units import Address
from ogpu_provider.pipeline.driver import Driver
from ogpu_provider.pipeline.live import LiveTasks
from ogpu_provider.pipeline.patience import Retried, take_step
from ogpu_provider.pipeline.ports import Ports
from ogpu_provider.pipeline.stages import DECIDES

log = structlog.get_logger()

Observer = Callable[[Task, TaskState], None]
Outcome = Transition | Mapping[str, object] | None
Decide = Callable[[Task], Outcome]


class Conductor(LiveTasks):
    """`observe` is told of every saved step (task, state before); it must not block."""

    def __init__(self, ports: Ports, observe: Observer | None = None) -> None:
        super().__init__(ports)
        self._observe = observe
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

    def start(self, task: Task, *, stored: bool = True) -> bool:
        """Drive a row; False if there is nothing to drive, or it is driven already.

        Where it is not `stored` yet, its first stage looks and decides meanwhile; what it decided is saved once `keep`
        says that the row is there, and forgotten with `drop`.
        """
        assert self._group is not None, "the conductor is not running"
        if task.address in self._drivers or task.state.over:
            return False
        driver = self._drivers[task.address] = Driver(task)
        if stored:
            driver.stored.set()
        driver.loop = begin(self._group, self._drive(driver), name=f"task {task.address}")
        return True

    def keep(self, task: Address) -> None:
        """The row is in the journal."""
        self._drivers[task].stored.set()

    def drop(self, task: Address) -> None:
        """The row did not get into the journal, or another was there: nothing was done on its word."""
        driver = self._drivers.pop(task)
        assert driver.loop is not None
        driver.loop.cancel()
        self._let_go(driver.task)

    async def apply(self, address: Address, decide: Decide) -> None:
        """Let a fact act on a row: `decide` gives a transition, changed fields, or None; then the task goes on."""
        while True:
            task = await self.row(address)
            if task is None:
                return
            outcome = decide(task)
            try:
                if isinstance(outcome, Transition):
                    await self._save(task, outcome)
                elif outcome:
                    await self._amend(task, outcome)
            except StaleRow:
                await self._reload(address)
                continue
            if outcome:
                self.nudge(address)
            return

    async def row(self, address: Address) -> Task | None:
        """The newest row of a task, read only where it is not live."""
        driver = self._drivers.get(address)
        return driver.task if driver else await self._ports.journal.task(address)

    async def _drive(self, driver: Driver) -> None:
        tries = 0
        task, step = driver.task, None
        try:
            while not driver.task.state.over:
                if step is None:
                    queued, driver.queued, driver.waiting = driver.queued, False, ""
                    driver.wake.clear()
                    task = driver.task
                    step = await take_step(task, self._ports, tries)
                    if queued and isinstance(step, Wait) and not step.for_room:
                        driver.waiting = step.why  # for something else than room now: the next one looks
                        self.nudge_first(task.source)
                tries = tries + 1 if isinstance(step, Retried) else 0
                try:
                    task, step = await self._take(driver, task, step)
                except StaleRow:
                    self._let_go(await self._reload(task.address))
                    step = None
        finally:
            driver.moved.set()
            if self._drivers.get(driver.task.address) is driver:
                del self._drivers[driver.task.address]

    async def _take(self, driver: Driver, task: Task, step: Step) -> tuple[Task, Step | None]:
        """Save a step, or wait as it says; returns the row, and what to do next where that is known already.

        Raises StaleRow.
        """
        assert self._group is not None
        if isinstance(step, Transition):
            steps, following = await self._ahead(task, step)
            await driver.stored.wait()
            return await self._save(task, *steps), following
        await driver.stored.wait()
        if step.changes:
            await self._keep(task, step.changes)
        driver.waiting, driver.queued = step.why, step.for_room
        await driver.wait(step.until - self._ports.head.now(self._ports.clock), self._ports.clock, self._group)
        return task, None

    async def _ahead(self, task: Task, step: Transition) -> tuple[list[Transition], Step | None]:
        """`step`, and those behind it that touch nothing; and what is to be done once they are saved, if known."""
        steps = [step]
        while step.to in DECIDES:
            task = task.but(**step.changes, state=step.to)
            following = await take_step(task, self._ports, 0)
            if not isinstance(following, Transition):
                return steps, following
            step = following
            steps.append(step)
        return steps, None

    async def _keep(self, task: Task, changes: Mapping[str, object]) -> None:
        """Fields that a stage learnt (a container accepted the call) must not be lost to a racing fact."""
        state, row = task.state, task
        while row.state is state:
            try:
                await self._amend(row, changes)
            except StaleRow:
                row = await self._reload(task.address)
            else:
                return

    async def _amend(self, task: Task, changes: Mapping[str, object]) -> None:
        row = await self._ports.journal.amend(task, changes, at=self._ports.clock.now())
        if driver := self._drivers.get(task.address):
            driver.note(row)

    async def _reload(self, address: Address) -> Task:
        row = await self._ports.journal.task(address)
        assert row is not None, "rows are never deleted"
        if driver := self._drivers.get(address):
            driver.note(row)
        return row

    async def _save(self, task: Task, *steps: Transition) -> Task:
        for step in steps:
            reach(f"task.{step.to}.unsaved")
        at = self._ports.clock.now()
        saved = await self._commit(task, steps, at)
        for step in steps:
            reach(f"task.{step.to}.saved")
        called_at = self._note(saved, at)
        self._let_go(saved)
        before = task.state
        for step in steps:
            self._tell(saved if step is steps[-1] else saved.but(state=step.to), before)
            before = step.to
        if task.state is TaskState.EXECUTING and saved.state is not TaskState.EXECUTING and self._group:
            begin(self._group, self._keep_logs(task, called_at), name=f"logs {task.address}")
        if saved.state is TaskState.SEEN:
            self.start(saved)
        elif task.state is TaskState.SEEN:
            self.nudge_first(task.source)  # perhaps there is room for two
        return saved

    async def _commit(self, task: Task, steps: Sequence[Transition], at: float) -> Task:
        """With the signed bytes of what the steps want sent, where the sender has nothing else to sign first."""
        ports = self._ports
        intents = [step.intent for step in steps if step.intent is not None]
        try:
            async with ports.sender.signing(intents) as signed:
                saved = await ports.journal.save(task, *steps, at=at, boot=ports.boot, signed=signed)
        except KnownIntent:  # the task goes this way again: its transaction is the one that it had
            signed, saved = (), await ports.journal.save(task, *steps, at=at, boot=ports.boot)
        if intents and not signed:
            ports.sender.wake()
        return saved

    def _let_go(self, row: Task) -> None:
        """Of what the task does not hold any more, or its stage took for a step that was not saved."""
        if row.lease is None and self._ports.scheduler.release(task_holder(row.address)):
            self.nudge_first()

    def _note(self, saved: Task, at: float) -> float | None:
        """Let the task's loop know its row; returns when its container was called."""
        driver = self._drivers.get(saved.address)
        if driver is None:
            return None
        driver.note(saved)
        if saved.state is TaskState.EXECUTING:
            driver.called_at = at
        return driver.called_at

    def _tell(self, task: Task, before: TaskState) -> None:
        extra = {"code": task.code, "reason": task.reason} if task.state.over and task.code else {}
        log.info(f"task_{task.state}", task=task.address, source=task.source, function=task.function, **extra)
        if self._observe:
            self._observe(task, before)

    async def _keep_logs(self, task: Task, called_at: float | None) -> None:
        """From before the container was called: a quick handler prints before its 202 is written down."""
        try:
            if called_at is None:
                lines = await self._ports.journal.history(task.address)
                called_at = max((line.at for line in lines if line.after is TaskState.EXECUTING), default=task.seen_at)
            await self._ports.runtime.keep_logs(task.source, task.address, called_at)
        except ProviderError as error:
            log.warning("task_logs_not_kept", task=task.address, code=error.code, error=str(error))
