"""One verb a file: `async (task, ports) -> Step`. A stage may be entered again at any time.

It asks the world, decides, and returns; it never saves, and it never waits for long: waiting is a `Wait`.
"""

from collections.abc import Awaitable, Callable, Mapping

from ogpu_provider.domain.task import Step, Task, TaskState
from ogpu_provider.pipeline.ports import Ports
from ogpu_provider.pipeline.stages.admit import admit
from ogpu_provider.pipeline.stages.attempt import attempt
from ogpu_provider.pipeline.stages.dispatch import dispatch
from ogpu_provider.pipeline.stages.execute import execute
from ogpu_provider.pipeline.stages.pin import pin
from ogpu_provider.pipeline.stages.prepare import prepare
from ogpu_provider.pipeline.stages.settle import settle
from ogpu_provider.pipeline.stages.submit import submit

Stage = Callable[[Task, Ports], Awaitable[Step]]

STAGES: Mapping[TaskState, Stage] = {
    TaskState.SEEN: admit,
    TaskState.ADMITTED: prepare,
    TaskState.READY: attempt,
    TaskState.ATTEMPTED: dispatch,
    TaskState.EXECUTING: execute,
    TaskState.PRODUCED: pin,
    TaskState.PINNED: submit,
    TaskState.SUBMITTED: settle,
    TaskState.RESPONDED: settle,
}

DECIDES = frozenset({TaskState.ADMITTED, TaskState.READY, TaskState.ATTEMPTED, TaskState.PINNED})
"""States whose stages look and decide, and touch nothing: such a step need not wait until the one before it is saved,
both are saved together."""
