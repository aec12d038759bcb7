"""From what the chain says of a task to what that means for its row. Pure."""

from collections.abc import Mapping

from ogpu_provider.domain.facts import TaskStatus, TaskView
from ogpu_provider.domain.task import TaskState, Transition
from ogpu_provider.domain.units import Address
from ogpu_provider.domain.verdict import Reason


def ended(view: TaskView, provider: Address, changes: Mapping[str, object] | None = None) -> Transition | None:
    """The end that the chain has put to a task we have not responded to, None while it is open."""
    changes = changes or {}
    if view.status is TaskStatus.CANCELED:
        return Transition(TaskState.CANCELED, changes, (Reason("chain.canceled", "the client canceled the task"),))
    if view.status is TaskStatus.EXPIRED:
        return Transition(TaskState.EXPIRED, changes, (Reason("chain.expired", "the task expired on chain"),))
    # the parts of a view may be of two blocks: a winner not read yet says nothing
    if view.status is TaskStatus.FINALIZED and view.winner not in (None, provider):
        return Transition(TaskState.LOST, changes, (Reason("lost.other_won", f"provider {view.winner} was paid"),))
    return None


def refused(view: TaskView, provider: Address, effect: str, now: float) -> Transition | None:
    """What a reverted or abandoned transaction means. None if its effect is on chain all the same."""
    if effect == "submitResponse" and view.our_response:
        return None
    if effect == "attempt" and view.attempted_by_us:
        return None
    if end := ended(view, provider):
        return end
    if now >= view.expiry:
        reason = Reason("chain.expired", f"the task expired at {view.expiry}")
        return Transition(TaskState.EXPIRED, reasons=(reason,))
    reason = Reason(f"{effect}.reverted", f"the chain refused {effect}; task status {view.status.name}")
    return Transition(TaskState.FAILED, reasons=(reason,))
