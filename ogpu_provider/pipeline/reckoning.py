"""Rows held against chain and engine, where what was heard is not enough: after a start, now and then, and where a
transaction of ours came to nothing. What is decided then says `recovery`."""

from collections.abc import Mapping

import structlog

from ogpu_provider.domain.errors import ProviderError
from ogpu_provider.domain.intent import Effect, IntentRow, IntentState
from ogpu_provider.domain.task import Task, TaskState, Transition
from ogpu_provider.domain.units import Address
from ogpu_provider.domain.verdict import Reason
from ogpu_provider.pipeline.conductor import Conductor
from ogpu_provider.pipeline.ports import Ports
from ogpu_provider.pipeline.promises import Promises, made_good, oblige
from ogpu_provider.pipeline.recovery import Row, decide
from ogpu_provider.pipeline.reliance import by_another
from ogpu_provider.pipeline.reversal import UNDONE
from ogpu_provider.pipeline.standing import refused

log = structlog.get_logger()

_GONE = Reason(UNDONE, "the task is not on the chain any more")


class Reckoning:
    def __init__(self, ports: Ports, conductor: Conductor, promises: Promises) -> None:
        self._ports = ports
        self._conductor = conductor
        self._promises = promises

    async def recover(self, address: Address, known: int | None = None) -> Row:
        """Compare a live row with chain and engine, for what was never heard; it goes on as that says.

        `known`: number of the newest block in which the row was as it should be, where that is not the head's.
        Raises ProviderError where the chain cannot be asked.
        """
        ports = self._ports
        view = await ports.chain.standing(address)
        intents = await ports.journal.intents_of(address)
        result = await ports.journal.result(address) is not None
        up = await self._is_up(address)
        head = ports.head.block.number if ports.head.block else 0
        found = Row.LEAVE

        def look(task: Task) -> Transition | Mapping[str, object] | None:
            decision = decide(
                task,
                view,
                intents,
                provider=ports.chain.provider,
                up=up,
                result=result,
                now=ports.head.now(ports.clock),
                block=head,
            )
            nonlocal found
            found = decision.row
            log.info("task_recovered", task=address, state=task.state, row=found)
            return decision.step or decision.changes or None

        await self._conductor.apply(address, look)
        self._conductor.nudge(address)
        if found is Row.RENEW:
            self._promises.doubt(address, head if known is None else known)
        return found

    async def on_intent(self, row: IntentRow) -> None:
        """A transaction of ours came to its end. What succeeded was told by the logs; now it is deep enough."""
        subject, effect = row.intent.subject, row.intent.effect
        self._conductor.nudge(subject)
        if effect not in (Effect.ATTEMPT, Effect.SUBMIT_RESPONSE):
            return
        if effect is Effect.ATTEMPT and by_another(row):
            await self._conductor.apply(subject, oblige)
        if row.state not in (IntentState.REVERTED, IntentState.ABANDONED):
            return
        step = await self._refusal(row)
        if step:
            await self._conductor.apply(subject, lambda task: None if task.state.over else step)

    async def give_up(self, address: Address) -> None:
        """A row whose block was undone, and did not come back before it could not be answered anyway."""
        await self._conductor.apply(address, self._vanished)

    def _vanished(self, task: Task) -> Transition | None:
        if task.state.over or not task.expiry or self._ports.head.now(self._ports.clock) < task.expiry:
            return None
        return Transition(TaskState.EXPIRED, reasons=(_GONE,))

    async def _refusal(self, row: IntentRow) -> Transition | None:
        """The end that it means; None where the task goes on all the same."""
        try:
            view = await self._ports.chain.standing(row.intent.subject)
        except ProviderError as error:
            if error.code != "chain.empty_answer":
                raise
            return Transition(TaskState.FAILED, reasons=(_GONE,))  # nor was it there some blocks ago
        task = await self._conductor.row(row.intent.subject)
        if task is not None and not task.state.over and await made_good(task, view, self._ports):
            return None
        return refused(view, self._ports.chain.provider, row.intent.effect, self._ports.head.now(self._ports.clock))

    async def _is_up(self, address: Address) -> bool:
        task = await self._conductor.row(address)
        try:
            if task is not None:
                await self._ports.runtime.health(task.source)
        except ProviderError:
            return False
        return task is not None
