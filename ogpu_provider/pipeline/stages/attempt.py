"""READY -> ATTEMPTED: promise the task on chain.

The intent commits with the transition and the path goes on at once; the sender signs, stores and broadcasts.
"""

from ogpu_provider.domain.task import Step, Task, TaskState, Transition
from ogpu_provider.domain.verdict import Reason
from ogpu_provider.pipeline.ports import Ports


async def attempt(task: Task, ports: Ports) -> Step:
    if ports.head.now(ports.clock) >= task.deadline:
        return Transition(TaskState.DECLINED, reasons=(Reason("time.too_short", "no time left to attempt"),))
    if task.obliged:  # the master or an agent has attempted for us: nothing to send
        return Transition(TaskState.ATTEMPTED)
    return Transition(TaskState.ATTEMPTED, intent=ports.chain.intent_attempt(task.address, task.asks, task.deadline))
