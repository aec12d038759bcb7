"""Takes results from the callback server. Stored before it is answered; the first body wins."""

from ogpu_provider.domain.killpoints import reach
from ogpu_provider.domain.task import ResultOutcome, Task, TaskState, Transition
from ogpu_provider.domain.units import Address
from ogpu_provider.domain.verdict import Reason
from ogpu_provider.pipeline.conductor import Conductor
from ogpu_provider.pipeline.ports import Ports


class ResultSink:
    def __init__(self, ports: Ports, conductor: Conductor) -> None:
        self._ports = ports
        self._conductor = conductor

    async def accept(self, source: Address, task: Address, body: bytes) -> ResultOutcome:
        """Durable when it returns STORED. UNKNOWN for a task that is not this source's or was not dispatched."""
        row = await self._ports.journal.task(task)
        if row is None or row.source != source or not row.dispatches:
            return ResultOutcome.UNKNOWN
        if row.state is TaskState.EXECUTING:
            reach("result.unsaved")
            outcome = await self._ports.journal.put_result(task, body, at=self._ports.clock.now())
            reach("result.saved")
            self._conductor.nudge(task)
            return outcome
        stored = await self._ports.journal.result(task)
        if stored is None:
            return ResultOutcome.LATE
        return ResultOutcome.SAME if stored == body else ResultOutcome.CONFLICT

    async def refuse(self, source: Address, task: Address, reason: Reason) -> None:
        """A body that can never be submitted (too large, not JSON) ends the task."""

        def decide(row: Task) -> Transition | None:
            if row.source != source or row.state is not TaskState.EXECUTING:
                return None
            return Transition(TaskState.FAILED, reasons=(reason,))

        await self._conductor.apply(task, decide)
