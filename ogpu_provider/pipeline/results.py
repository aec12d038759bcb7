"""Takes results from the callback server. Stored before it is answered; the first body wins."""

import structlog

from ogpu_provider.domain.errors import ProviderError, Retry
from ogpu_provider.domain.killpoints import reach
from ogpu_provider.domain.task import ResultOutcome, Task, TaskState, Transition
from ogpu_provider.domain.units import Address
from ogpu_provider.domain.verdict import Reason
from ogpu_provider.pipeline.conductor import Conductor
from ogpu_provider.pipeline.ports import Ports

log = structlog.get_logger()

PAUSES_S = (0.2, 1.0, 3.0)


class ResultSink:
    def __init__(self, ports: Ports, conductor: Conductor) -> None:
        self._ports = ports
        self._conductor = conductor

    async def foresee(self, source: Address, task: Address) -> ResultOutcome | None:
        """UNKNOWN or LATE if any result of this task would be that: it need not even be received."""
        found = await self._standing(source, task)
        return found if isinstance(found, ResultOutcome) else None

    async def accept(self, source: Address, task: Address, body: bytes) -> ResultOutcome:
        """Durable when it returns STORED. UNKNOWN for a task that is not this source's or was not dispatched."""
        found = await self._standing(source, task)
        if isinstance(found, ResultOutcome):
            return found
        if found is not None:
            return ResultOutcome.SAME if found == body else ResultOutcome.CONFLICT
        outcome = await self._store(task, body)
        self._conductor.nudge(task)
        return outcome

    async def _standing(self, source: Address, task: Address) -> ResultOutcome | bytes | None:
        """The result that was stored before, None if one is awaited, UNKNOWN or LATE if none is."""
        row = await self._ports.journal.task(task)
        if row is None or row.source != source or not row.dispatches:
            return ResultOutcome.UNKNOWN
        if row.state is TaskState.EXECUTING:
            return None
        stored = await self._ports.journal.result(task)
        return ResultOutcome.LATE if stored is None else stored

    async def _store(self, task: Address, body: bytes) -> ResultOutcome:
        """A container posts once: a disk that is busy for a moment must not cost its result."""
        for pause in PAUSES_S:
            try:
                return await self._put(task, body)
            except ProviderError as error:
                if error.retry is Retry.NEVER:
                    raise
                log.warning("result_not_stored_yet", task=task, code=error.code, error=str(error))
            await self._ports.clock.sleep(pause)
        return await self._put(task, body)

    async def _put(self, task: Address, body: bytes) -> ResultOutcome:
        reach("result.unsaved")
        outcome = await self._ports.journal.put_result(task, body, at=self._ports.clock.now())
        reach("result.saved")
        return outcome

    async def refuse(self, source: Address, task: Address, reason: Reason) -> None:
        """A body that can never be submitted (too large, not JSON) ends the task."""

        def decide(row: Task) -> Transition | None:
            if row.source != source or row.state is not TaskState.EXECUTING:
                return None
            return Transition(TaskState.FAILED, reasons=(reason,))

        await self._conductor.apply(task, decide)
