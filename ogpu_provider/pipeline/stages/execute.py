"""EXECUTING -> PRODUCED: call the container once, then wait for its callback or our own deadline.

A handler that fails sends nothing, so the deadline is ours. The framework inside the container has neither a
status route nor deduplication, and posts its result once: after a restart we cannot know whether the call was
made or its result fell into our absence. So we wait as long as such a result may take, by what was seen, and half of
the time left at most, and only then call again (at-least-once computation, still one response).
"""

from ogpu_provider.domain.errors import EngineError
from ogpu_provider.domain.killpoints import reach
from ogpu_provider.domain.task import Step, Task, TaskState, Transition, Wait
from ogpu_provider.domain.verdict import Reason
from ogpu_provider.pipeline.ports import Ports
from ogpu_provider.pipeline.recovery import call_again_at


async def execute(task: Task, ports: Ports) -> Step:
    if await ports.journal.result(task.address) is not None:
        return Transition(TaskState.PRODUCED)
    now = ports.head.now(ports.clock)
    try:
        await ports.runtime.health(task.source)
    except EngineError as error:
        return _again(task, ports, error, now)
    if now >= task.deadline:
        text = "the container sent no result in time (a handler that fails sends none; see the task's logs)"
        return Transition(TaskState.FAILED, reasons=(Reason("execute.no_result", text),))
    if task.boot != ports.boot:
        longest = await ports.journal.longest_run(task.source, task.function)
        until = call_again_at(task, longest=longest, started=ports.started_at)
        if now < until:
            return Wait(until, "dispatched before the restart; its result may still arrive")
        return Transition(TaskState.EXECUTING, {"dispatches": task.dispatches + 1, "accepted_at": 0.0})
    if task.accepted_at:
        return Wait(task.deadline, "the container is at work")
    reach("container.calling")
    await ports.runtime.dispatch(task.source, task.address, task.function, task.data)
    reach("container.called")
    return Wait(task.deadline, "the container is at work", {"accepted_at": ports.clock.now()})


def _again(task: Task, ports: Ports, error: EngineError, now: float) -> Step:
    """The project is gone; the keeper brings it up again. Work that was in it is called once more, or given up."""
    if now >= task.deadline or (task.accepted_at and task.dispatches >= ports.policy.max_dispatches):
        return Transition(TaskState.FAILED, reasons=(Reason(error.code, str(error)),))
    if task.accepted_at:
        return Transition(TaskState.EXECUTING, {"dispatches": task.dispatches + 1, "accepted_at": 0.0})
    return Wait(min(task.deadline, now + ports.policy.retry_pause), f"waiting for the project: {error}")
