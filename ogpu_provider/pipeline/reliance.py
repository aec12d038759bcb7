"""What is to be planned anew, because what we relied on is not on the chain (any more). Pure.

effect      was left to another, or came to nothing                          and now
attempt     never planned, for another had made it; or closed unsent, or     the chain does not have it
            its nonce used up by a void, because another's was found
response    failed, and no attempt of ours was ahead of it                   there is an attempt, or one is planned
response    its nonce used up by a void, because it was found on the chain   the same

Both have an intent of their own, whose nonce is behind all that were given before: what the sender has closed stays as
it is, and comes back by itself where its own block is undone. The task must be open, in time and not answered.
"""

from collections import Counter
from collections.abc import Sequence

from ogpu_provider.domain.facts import TaskView
from ogpu_provider.domain.intent import Effect, IntentRow, IntentState
from ogpu_provider.domain.task import Task

TIMES = {Effect.ATTEMPT: 3, Effect.SUBMIT_RESPONSE: 2}
"""So often each is planned for a task at most: a chain that refuses it for another reason is not asked for ever."""

_S = IntentState


def missing(task: Task, view: TaskView, intents: Sequence[IntentRow], now: float) -> tuple[Effect, ...]:
    """Effects to plan anew, in the order in which they must be on the chain. `intents`: all about the task, in the
    order of planning; `now` in unix seconds."""
    if view.status.over or view.our_response or now >= view.expiry:
        return ()
    attempts = [row for row in intents if row.intent.effect is Effect.ATTEMPT]
    responses = [row for row in intents if row.intent.effect is Effect.SUBMIT_RESPONSE]
    wanted: list[Effect] = []
    if not view.attempted_by_us and _left_to_another(task, attempts, now):
        wanted.append(Effect.ATTEMPT)
    if responses and _fell_through(responses[-1], attempts):
        behind = any(row.state.open and not _ahead(row, responses[-1]) for row in attempts)
        if wanted or view.attempted_by_us or behind:
            wanted.append(Effect.SUBMIT_RESPONSE)
    planned = Counter(row.intent.effect for row in intents)
    return () if any(planned[effect] >= TIMES[effect] for effect in wanted) else tuple(wanted)


def undecided(view: TaskView, intents: Sequence[IntentRow]) -> bool:
    """Whether what failed has to wait for an attempt that is on its way, which may turn out to be a void."""
    on_its_way = any(row.intent.effect is Effect.ATTEMPT and row.state.open for row in intents)
    return on_its_way and not view.attempted_by_us and not view.status.over


def by_another(row: IntentRow) -> bool:
    """Whether its effect was found on the chain before it was signed."""
    return row.state is _S.CONFIRMED and row.nonce is None


def _left_to_another(task: Task, attempts: Sequence[IntentRow], now: float) -> bool:
    if not attempts:
        return task.obliged
    last = attempts[-1]
    if last.state is _S.ABANDONED:
        return task.obliged or (_void(last) and (last.intent.deadline is None or now <= last.intent.deadline))
    return by_another(last)


def _fell_through(response: IntentRow, attempts: Sequence[IntentRow]) -> bool:
    if response.state is _S.REVERTED:
        return not any(row.state is _S.CONFIRMED and _ahead(row, response) for row in attempts)
    return _void(response)


def _ahead(attempt: IntentRow, response: IntentRow) -> bool:
    """By its nonce, so that it is in a block first."""
    return attempt.nonce is not None and response.nonce is not None and attempt.nonce < response.nonce


def _void(row: IntentRow) -> bool:
    """Whether its nonce was used up in a block, by nothing."""
    return row.state is _S.ABANDONED and row.block_number is not None
