"""Runs a stage, and says how often and how long one that failed is tried again."""

import structlog

from ogpu_provider.domain.errors import ProviderError, Retry, RpcUnavailable
from ogpu_provider.domain.task import BEFORE_ATTEMPT, Step, Task, TaskState, Transition, Wait
from ogpu_provider.domain.verdict import Reason
from ogpu_provider.pipeline.ports import Ports
from ogpu_provider.pipeline.stages import STAGES

log = structlog.get_logger()


class Retried(Wait):
    """A wait that counts as a failed try."""


async def take_step(task: Task, ports: Ports, tries: int) -> Step:
    """What the stage of the task's state returns; after an error, a pause or an end. `tries`: those that failed."""
    try:
        return await STAGES[task.state](task, ports)
    except ProviderError as error:
        return _on_error(task, ports, error, tries)
    except Exception:
        log.exception("stage_crashed", task=task.address, state=task.state)
        reason = Reason("internal", f"a defect in stage {task.state}; see the daemon's log")
        return Transition(_end_of(task), reasons=(reason,))


def _on_error(task: Task, ports: Ports, error: ProviderError, tries: int) -> Step:
    policy = ports.policy
    now = ports.head.now(ports.clock)
    pause = 0.0 if error.retry is Retry.NOW else min(policy.retry_pause * 2**tries, policy.retry_pause_max)
    limit = task.expiry or now + policy.max_run
    patient = task.state not in BEFORE_ATTEMPT or tries + 1 < policy.tries_before_attempt
    if isinstance(error, RpcUnavailable):  # says nothing about the task, and tasks are not read meanwhile either
        patient, pause = True, min(pause, policy.outage_pause_max)
    if error.retry is not Retry.NEVER and patient and now + pause < limit:
        log.info("stage_retries", task=task.address, state=task.state, code=error.code, error=str(error))
        return Retried(now + pause, f"{error.code}: {error}")
    return Transition(_end_of(task), reasons=(Reason(error.code, str(error)),))


def _end_of(task: Task) -> TaskState:
    return TaskState.DECLINED if task.state in BEFORE_ATTEMPT else TaskState.FAILED
