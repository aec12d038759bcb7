"""SUBMITTED, RESPONDED -> SETTLED | LOST: only a fact deep enough in the chain settles a task.

The intake writes `response` and `finalized_block` into the row as their logs arrive.
"""

import math

from ogpu_provider.domain.intent import Effect, IntentRow, IntentState
from ogpu_provider.domain.source import DeliveryMethod
from ogpu_provider.domain.task import Step, Task, TaskState, Transition, Wait
from ogpu_provider.domain.verdict import Reason
from ogpu_provider.pipeline.ports import Ports


async def settle(task: Task, ports: Ports) -> Step:
    if task.finalized_block is None:
        manual = task.delivery is DeliveryMethod.MANUAL_CONFIRMATION
        if task.response and manual and task.state is TaskState.SUBMITTED:
            return Transition(TaskState.RESPONDED)
        return Wait(math.inf, "the client has to confirm" if task.response else "the response is not in a block yet")
    head = ports.head.block
    if head is None or head.number < task.finalized_block + ports.policy.confirmations:
        return Wait(math.inf, f"waiting for {ports.policy.confirmations} blocks on top of {task.finalized_block}")
    ours = await _our_response(task, ports)
    if ours and ours.block_number == task.finalized_block and task.delivery is DeliveryMethod.FIRST_RESPONSE:
        if ours.state is IntentState.CONFIRMED:  # the first response pays itself, in its own transaction
            return Transition(TaskState.SETTLED)
        if ours.state.open:
            return Wait(math.inf, "our response is in its block, the sender has not confirmed it yet")
    winner = await ports.chain.winner(task.address)
    if winner == ports.chain.provider:
        return Transition(TaskState.SETTLED)
    if winner is None:  # the node that answered is behind the one that told of the end
        return Wait(ports.head.now(ports.clock) + ports.policy.retry_pause, "the chain does not name a winner yet")
    return Transition(TaskState.LOST, reasons=(Reason("lost.other_won", f"provider {winner} was paid"),))


async def _our_response(task: Task, ports: Ports) -> IntentRow | None:
    rows = await ports.journal.intents_of(task.address)
    return next((row for row in reversed(rows) if row.intent.effect is Effect.SUBMIT_RESPONSE), None)
