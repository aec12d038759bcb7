"""ATTEMPTED -> EXECUTING: write down that the container is about to be called."""

from ogpu_provider.domain.task import Step, Task, TaskState, Transition
from ogpu_provider.pipeline.ports import Ports


async def dispatch(task: Task, ports: Ports) -> Step:
    return Transition(TaskState.EXECUTING, {"dispatches": task.dispatches + 1, "accepted_at": 0.0})
