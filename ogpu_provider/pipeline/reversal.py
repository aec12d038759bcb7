"""What it means for a row that blocks were undone, or that a log was never there. Pure.

row                                     its block is gone
seen, not attempted                     declined (chain.undone); the same log in another block brings it back
attempted and on                        goes on: its transactions decide, and the next look at the chain; an attempt
                                        that found no task at depth ends it (chain.undone), for good
attempted by an agent, in that block    attempts for itself, unless the agent's comes back (announcements); a response
                                        that failed without it is submitted again (reliance)
paid in that block                      waits to be paid again
response in that block                  waits for its response again
lost, canceled or expired by it         seen again, held against the chain before anything is done
settled, failed, declined               stays: settled is deep, the others are our own word
"""

from collections.abc import Mapping, Sequence

from ogpu_provider.domain.intent import Effect, IntentRow, IntentState
from ogpu_provider.domain.task import BEFORE_ATTEMPT, Task, TaskState, Transition
from ogpu_provider.domain.verdict import Reason

UNDONE, DISPROVED = "chain.undone", "chain.disproved"

_S = TaskState
_ENDED_BY_CHAIN = frozenset({_S.LOST, _S.CANCELED, _S.EXPIRED})
_REFUSED = frozenset({IntentState.REVERTED, IntentState.ABANDONED})


def undone(
    task: Task, intents: Sequence[IntentRow], above: int, answered: int | None = None
) -> Transition | Mapping[str, object] | None:
    """Every block above number `above` is undone. `intents`: what was planned about the task.

    `answered`: the block that our response was last seen in, None where this run has not seen it.
    """
    if task.state in BEFORE_ATTEMPT and task.seen_block > above:
        return withdrawn(task, UNDONE, f"its block {task.seen_block} was undone")
    if task.finalized_block is not None and task.finalized_block > above and task.state in _ENDED_BY_CHAIN:
        return reopened(task, intents)
    if task.state.over:
        return None
    changes: dict[str, object] = {}
    if task.finalized_block is not None and task.finalized_block > above:
        changes["finalized_block"] = None
    if answered is None:
        response = next((row for row in reversed(intents) if row.intent.effect is Effect.SUBMIT_RESPONSE), None)
        answered = (response.block_number if response else None) or 0
    if task.response and answered > above:
        changes["response"] = None
        if task.state is _S.RESPONDED:
            return Transition(_S.SUBMITTED, changes)
    return changes or None


def withdrawn(task: Task, code: str, text: str) -> Transition | None:
    """The task was not published after all. Work that was promised already is not dropped on one log's word."""
    return Transition(_S.DECLINED, reasons=(Reason(code, text),)) if task.state in BEFORE_ATTEMPT else None


def reopened(task: Task, intents: Sequence[IntentRow]) -> Transition | None:
    """The end that the chain had put to it is gone. A response that the sender is done with is not sent twice."""
    submitted = [row for row in intents if row.intent.effect is Effect.SUBMIT_RESPONSE]
    if task.state not in _ENDED_BY_CHAIN or (submitted and not submitted[-1].state.open):
        return None
    promised = any(row.intent.effect is Effect.ATTEMPT and row.state not in _REFUSED for row in intents)
    return again(task, obliged=task.obliged or promised, finalized_block=None)


def again(task: Task, **changes: object) -> Transition:
    """Seen anew; what was read of it is read again."""
    return Transition(_S.SEEN, {"function": "", "expiry": 0, **changes})
