"""What is planned anew, case by case: nothing that would be there twice, and nothing for ever."""

import pytest

from ogpu_provider.domain.facts import TaskStatus, TaskView
from ogpu_provider.domain.intent import Effect, Intent, IntentRow, IntentState
from ogpu_provider.domain.task import Task, TaskState
from ogpu_provider.domain.units import Address
from ogpu_provider.pipeline.reliance import TIMES, by_another, missing, undecided

S, T, C = TaskState, IntentState, TaskStatus
ATTEMPT, SUBMIT = Effect.ATTEMPT, Effect.SUBMIT_RESPONSE
TASK = Address("0x" + "01" * 20)
EXPIRY = 1000
VOID = 77
"""Number of a block that a void is in."""


def row(
    effect: Effect,
    state: IntentState,
    nonce: int | None = None,
    block: int | None = None,
    deadline: float | None = None,
) -> IntentRow:
    return IntentRow(Intent("key", effect, TASK, TASK, b"x", deadline), state, nonce, block_number=block)


def wanted(
    *intents: IntentRow,
    obliged: bool = False,
    there: bool = False,
    status: TaskStatus = C.NEW,
    answered: bool = False,
    now: float = 500.0,
) -> tuple[Effect, ...]:
    task = Task(TASK, TASK, S.EXECUTING, 1, 1.0, obliged=obliged)
    return missing(task, seen(there=there, status=status, answered=answered), intents, now)


def seen(*, there: bool = False, status: TaskStatus = C.NEW, answered: bool = False) -> TaskView:
    response = TASK if answered else None
    return TaskView(TASK, TASK, "", EXPIRY, 1, status, attempted_by_us=there, our_response=response)


def test_an_attempt_of_another_that_is_gone_is_made() -> None:
    assert wanted(obliged=True) == (ATTEMPT,)
    assert wanted(obliged=True, there=True) == ()
    assert wanted() == ()


def test_nothing_is_made_for_a_task_that_is_over_answered_or_late() -> None:
    assert wanted(obliged=True, status=C.CANCELED) == ()
    assert wanted(obliged=True, answered=True) == ()
    assert wanted(obliged=True, now=EXPIRY) == ()
    assert wanted(obliged=True, now=EXPIRY - 1) == (ATTEMPT,)


def test_one_of_ours_that_was_closed_for_another_s_is_made_again_whoever_heard_of_that_one() -> None:
    unsent = row(ATTEMPT, T.CONFIRMED)
    assert by_another(unsent)
    assert wanted(unsent) == (ATTEMPT,)
    void = row(ATTEMPT, T.ABANDONED, 3, VOID, deadline=500.0)
    assert not by_another(void)
    assert wanted(void) == (ATTEMPT,)
    assert wanted(row(ATTEMPT, T.ABANDONED, 3, VOID)) == (ATTEMPT,)


def test_one_that_was_too_late_or_refused_is_not_unless_another_had_made_it() -> None:
    late = row(ATTEMPT, T.ABANDONED, 3, VOID, deadline=499.0)
    unsigned = row(ATTEMPT, T.ABANDONED, deadline=500.0)
    taken = row(ATTEMPT, T.ABANDONED, 3, deadline=500.0)  # its nonce, by another host
    for given_up in (late, unsigned, taken):
        assert wanted(given_up) == ()
        assert wanted(given_up, obliged=True) == (ATTEMPT,)
    assert wanted(row(ATTEMPT, T.REVERTED, 3, VOID), obliged=True) == (), "the chain has refused us"


@pytest.mark.parametrize("state", [T.PLANNED, T.SIGNED, T.SENT, T.MINED, T.CONFIRMED])
def test_what_the_sender_has_in_hand_or_brought_about_is_left_to_it(state: IntentState) -> None:
    ours = row(ATTEMPT, state, None if state is T.PLANNED else 3)
    assert not by_another(ours)
    assert wanted(ours, obliged=True) == ()


def test_a_response_that_failed_without_an_attempt_of_ours_ahead_is_submitted_again() -> None:
    failed = row(SUBMIT, T.REVERTED, 4)
    assert wanted(failed, obliged=True) == (ATTEMPT, SUBMIT)
    assert wanted(failed, obliged=True, there=True) == (SUBMIT,)
    for behind in (row(ATTEMPT, T.PLANNED), row(ATTEMPT, T.SENT, 5), row(ATTEMPT, T.CONFIRMED, 5)):
        assert wanted(failed, behind, there=behind.state is T.CONFIRMED) == (SUBMIT,)
    assert wanted(row(ATTEMPT, T.REVERTED, 3), failed, there=True) == (SUBMIT,), "another's was the first"


def test_a_response_that_failed_behind_an_attempt_of_ours_is_not() -> None:
    failed = row(SUBMIT, T.REVERTED, 4)
    ahead = row(ATTEMPT, T.CONFIRMED, 3)
    assert wanted(ahead, failed, there=True) == ()
    assert wanted(ahead, failed, obliged=True) == ()
    assert wanted(failed) == (), "there is no attempt, and none to come"


def test_a_response_that_failed_waits_for_what_is_ahead_of_it_and_may_be_a_void() -> None:
    failed, ahead = row(SUBMIT, T.REVERTED, 4), row(ATTEMPT, T.MINED, 3)
    assert wanted(ahead, failed, obliged=True) == ()
    assert undecided(seen(), [ahead, failed])
    assert wanted(row(ATTEMPT, T.ABANDONED, 3, VOID), failed) == (ATTEMPT, SUBMIT)
    assert wanted(ahead, failed, there=True) == (SUBMIT,), "another's is there"
    for view, rows in (
        (seen(there=True), [ahead]),
        (seen(status=C.CANCELED), [ahead]),
        (seen(), [row(ATTEMPT, T.CONFIRMED, 3)]),
        (seen(), [row(SUBMIT, T.MINED, 4)]),
    ):
        assert not undecided(view, rows)


@pytest.mark.parametrize("state", [T.PLANNED, T.SENT, T.MINED, T.CONFIRMED])
def test_a_response_on_its_way_is_left_to_the_sender(state: IntentState) -> None:
    assert wanted(row(SUBMIT, state, None if state is T.PLANNED else 4), obliged=True) == (ATTEMPT,)


def test_a_response_whose_nonce_was_used_up_because_it_was_there_is_submitted_again() -> None:
    ahead = row(ATTEMPT, T.CONFIRMED, 3)
    assert wanted(ahead, row(SUBMIT, T.ABANDONED, 4, VOID), there=True) == (SUBMIT,)
    assert wanted(ahead, row(SUBMIT, T.ABANDONED), there=True) == (), "the signer refused it"


def test_it_ends() -> None:
    assert TIMES == {ATTEMPT: 3, SUBMIT: 2}
    unsent = row(ATTEMPT, T.CONFIRMED)
    assert wanted(*[unsent] * (TIMES[ATTEMPT] - 1)) == (ATTEMPT,)
    assert wanted(*[unsent] * TIMES[ATTEMPT]) == ()
    failed = row(SUBMIT, T.REVERTED, 4)
    assert wanted(*[failed] * TIMES[SUBMIT], there=True) == ()
    assert wanted(*[failed] * TIMES[SUBMIT], obliged=True) == (), "an attempt without a response is worth nothing"
    assert wanted(failed, *[unsent] * TIMES[ATTEMPT]) == ()
