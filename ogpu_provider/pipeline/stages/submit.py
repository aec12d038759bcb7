"""PINNED -> SUBMITTED: say on chain where the result is. Ordered behind the attempt by nonce, so it need not wait.

Where another has attempted for us, that attempt is looked for first, and ours goes ahead if it is gone.
"""

from ogpu_provider.domain.task import Step, Task, TaskState, Transition
from ogpu_provider.domain.verdict import Reason
from ogpu_provider.pipeline.ports import Ports
from ogpu_provider.pipeline.promises import promised


async def submit(task: Task, ports: Ports) -> Step:
    if ports.head.now(ports.clock) >= task.expiry:
        text = f"the task expired at {task.expiry}, before its result could be submitted"
        return Transition(TaskState.EXPIRED, reasons=(Reason("submit.late", text),))
    if task.obliged:
        await promised(task, ports)
    intent = ports.chain.intent_submit(task.address, task.link, task.asks, float(task.expiry))
    return Transition(TaskState.SUBMITTED, intent=intent)
