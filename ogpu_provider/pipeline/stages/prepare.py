"""ADMITTED -> READY: the containers answer, before anything is promised on chain."""

from ogpu_provider.domain.source import SourceState
from ogpu_provider.domain.task import Step, Task, TaskState, Transition, Wait
from ogpu_provider.pipeline.ports import Ports


async def prepare(task: Task, ports: Ports) -> Step:
    source = ports.book.get(task.source)
    if source is not None and source.state is SourceState.COLD:  # it went down while the task was decided on
        ports.book.demand(task.source)
        return Wait(task.deadline, "the source's project is being started again")
    if source is not None and source.state is SourceState.WANTED:
        return Wait(task.deadline, "the source's project is being restarted")
    await ports.runtime.health(task.source)
    return Transition(TaskState.READY)
