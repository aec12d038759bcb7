"""What a new daemon makes of what the last one left behind. Pure; one row of the table is one `Row`.

    journal                           chain                        engine      do
    SEND      attempt or response     ours to do, time left        -           send it
              planned, not signed
    RESEND    signed or sent          its effect is not there      -           the same bytes again, dearer later
    RENEW     attempted for us, and   that attempt is not there    -           plan it (again), and a response that
              nothing of ours is to                                            failed without it, if it is not there
              be in a block                                                    once the chain is longer than it was
    RUN       attempted               ours, time left              -           call the container
    LISTEN    called, no result       ours, time left              up          wait, then call once more
    RESTART   called, no result       ours, time left              gone        bring it up, call once more; else fail
    PUBLISH   result stored           no response of ours          -           pin the same bytes, submit
    SETTLE    submitted               our response is there        -           note what the logs would have said
    REFUSED   transaction failed      its effect is not there      -           end, for the chain's reason
    ELSEWHERE not submitted           our response is there        -           end: this key answered elsewhere
    STOP      not submitted           canceled, expired, lost      -           end, free what is held
    ADOPT     nothing                 ours or new, no response     -           take it up: the key may owe it
    LEAVE     nothing, or over        answered, over or expired    -           nothing

The sender does SEND and RESEND, the stages do RUN to PUBLISH. What runs without a row is the runtime's to reap.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from ogpu_provider.domain.facts import TaskView
from ogpu_provider.domain.intent import Effect, IntentRow, IntentState
from ogpu_provider.domain.task import Task, TaskState, Transition
from ogpu_provider.domain.units import Address
from ogpu_provider.domain.verdict import Reason
from ogpu_provider.pipeline.reliance import missing
from ogpu_provider.pipeline.standing import ended, refused

LISTEN_TIMES = 3.0
LISTEN_S = 2.0
"""A result is waited for three times as long as the longest one took, and two seconds after the start."""

_S = TaskState
_NOTHING: Mapping[str, object] = MappingProxyType({})
_FAILED = frozenset({IntentState.REVERTED, IntentState.ABANDONED})


class Row(StrEnum):
    SEND = "send"
    RESEND = "resend"
    RENEW = "renew"
    RUN = "run"
    LISTEN = "listen"
    RESTART = "restart"
    PUBLISH = "publish"
    SETTLE = "settle"
    REFUSED = "refused"
    ELSEWHERE = "elsewhere"
    STOP = "stop"
    ADOPT = "adopt"
    LEAVE = "leave"


@dataclass(frozen=True, slots=True)
class Decision:
    """Which row of the table it is. `step` ends the task, `changes` are noted in it; without both it goes on."""

    row: Row
    step: Transition | None = None
    changes: Mapping[str, object] = field(default_factory=lambda: _NOTHING)


def decide(
    task: Task | None,
    view: TaskView,
    intents: Sequence[IntentRow],
    *,
    provider: Address,
    up: bool,
    result: bool,
    now: float,
    block: int,
) -> Decision:
    """Hold a row against the chain and the engine.

    `intents`: what was planned about the task. `up`: the source's project runs. `result`: one is stored. `now` in unix
    seconds, `block` the newest number.
    """
    if task is None:
        return Decision(Row.ADOPT if owed(view, now) else Row.LEAVE)
    if task.state.over:
        return Decision(Row.LEAVE)
    if task.state in (_S.SUBMITTED, _S.RESPONDED) and view.our_response:
        return Decision(Row.SETTLE, changes=_unheard(task, view, block))
    if view.our_response:
        reason = Reason("submit.elsewhere", "this key has answered the task outside this journal")
        return Decision(Row.ELSEWHERE, Transition(_S.FAILED, reasons=(reason,)))
    if end := ended(view, provider):
        return Decision(Row.STOP, end)
    return _open(task, view, intents, provider=provider, up=up, result=result, now=now)


def owed(view: TaskView, now: float) -> bool:
    """Whether a task without a row is to be taken up: open, in time, not answered by us."""
    return view.our_response is None and not view.status.over and now < view.expiry


def _open(
    task: Task,
    view: TaskView,
    intents: Sequence[IntentRow],
    *,
    provider: Address,
    up: bool,
    result: bool,
    now: float,
) -> Decision:
    """The task is open on chain and not answered by us."""
    if missing(task, view, intents, now):
        return Decision(Row.RENEW)
    for intent in {row.intent.effect: row for row in intents}.values():  # the last of each
        effect, state = intent.intent.effect, intent.state
        if effect is Effect.ATTEMPT and view.attempted_by_us:
            continue
        if state in _FAILED and (end := refused(view, provider, effect, now)):
            return Decision(Row.REFUSED, end)
        if state is IntentState.PLANNED:
            return Decision(Row.SEND)
        if state.open:
            return Decision(Row.RESEND)
    if task.state is _S.EXECUTING and not result:
        return Decision(Row.LISTEN if up else Row.RESTART)
    if task.state in (_S.EXECUTING, _S.PRODUCED, _S.PINNED):
        return Decision(Row.PUBLISH)
    return Decision(Row.RESEND if task.state in (_S.SUBMITTED, _S.RESPONDED) else Row.RUN)


def _unheard(task: Task, view: TaskView, block: int) -> dict[str, object]:
    """What logs that were never read would have noted."""
    changes: dict[str, object] = {}
    if not task.response:
        changes["response"] = view.our_response
    if view.winner and task.finalized_block is None:
        changes["finalized_block"] = block
    return changes


def call_again_at(task: Task, *, longest: float | None, started: float) -> float:
    """When to call a container once more whose result may have been posted while nobody listened; unix seconds.

    Half of the time left at the latest. `longest`: seconds that the function took at most so far, None if it never
    ended here. `started`: when this daemon began to listen.
    """
    half = task.updated_at + (task.deadline - task.updated_at) / 2
    if longest is None:
        return half
    began = task.accepted_at or task.updated_at
    return min(half, max(began + LISTEN_TIMES * longest, started + LISTEN_S))
