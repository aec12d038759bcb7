"""The decision table, row by row."""

import pytest

from ogpu_provider.domain.facts import TaskStatus, TaskView
from ogpu_provider.domain.intent import Effect, Intent, IntentRow, IntentState
from ogpu_provider.domain.task import OVER, Task, TaskState
from ogpu_provider.domain.units import Address
from ogpu_provider.pipeline.recovery import Decision, Row, call_again_at, decide

S, T, C = TaskState, IntentState, TaskStatus
US = Address("0x" + "a1" * 20)
OTHER = Address("0x" + "b2" * 20)
TASK = Address("0x" + "01" * 20)
SOURCE = Address("0x" + "50" * 20)
RESPONSE = Address("0x" + "77" * 20)
EXPIRY = 1000


def view(
    status: TaskStatus = C.NEW, *, ours: bool = False, answered: bool = False, winner: Address | None = None
) -> TaskView:
    return TaskView(
        TASK,
        SOURCE,
        "",
        EXPIRY,
        1,
        status,
        attempted_by_us=ours,
        our_response=RESPONSE if answered else None,
        winner=winner,
    )


def row(effect: Effect, state: IntentState) -> IntentRow:
    """Signed, where it is not only planned."""
    nonce = None if state is T.PLANNED else (ATTEMPT, SUBMIT).index(effect)
    return IntentRow(Intent(f"1:{effect}:{TASK}", effect, TASK, TASK, b"x"), state, nonce)


def decided(
    state: TaskState | None,
    chain: TaskView,
    *intents: tuple[Effect, IntentState],
    up: bool = True,
    result: bool = False,
    now: float = 500.0,
    **fields: object,
) -> Decision:
    task = None if state is None else Task(TASK, SOURCE, state, 1, 1.0, **fields)  # type: ignore[arg-type]
    rows = [row(effect, at) for effect, at in intents]
    return decide(task, chain, rows, provider=US, up=up, result=result, now=now, block=42)


ATTEMPT, SUBMIT = Effect.ATTEMPT, Effect.SUBMIT_RESPONSE


@pytest.mark.parametrize("state", [S.ATTEMPTED, S.EXECUTING])
def test_send_what_was_planned_and_not_sent(state: TaskState) -> None:
    assert decided(state, view(), (ATTEMPT, T.PLANNED)) == Decision(Row.SEND)


@pytest.mark.parametrize("sent", [T.SIGNED, T.SENT, T.MINED])
def test_resend_what_was_sent_without_effect(sent: IntentState) -> None:
    assert decided(S.EXECUTING, view(), (ATTEMPT, sent)) == Decision(Row.RESEND)
    both = ((ATTEMPT, T.CONFIRMED), (SUBMIT, sent))
    assert decided(S.SUBMITTED, view(C.ATTEMPTED, ours=True), *both) == Decision(Row.RESEND)


@pytest.mark.parametrize("up", [True, False])
@pytest.mark.parametrize("result", [True, False])
@pytest.mark.parametrize("state", [S.SEEN, S.ADMITTED, S.READY, S.ATTEMPTED, S.EXECUTING, S.PRODUCED, S.PINNED])
def test_renew_what_another_promised_for_us_and_is_not_on_the_chain(state: TaskState, result: bool, up: bool) -> None:
    assert decided(state, view(), up=up, result=result, obliged=True) == Decision(Row.RENEW)
    there = view(C.ATTEMPTED, ours=True)
    assert decided(state, there, up=up, result=result, obliged=True).row is not Row.RENEW
    assert decided(state, view(), up=up, result=result).row is not Row.RENEW, "it is ours to make"
    for ours in (T.PLANNED, T.SENT, T.CONFIRMED):
        planned = decided(state, view(), (ATTEMPT, ours), up=up, result=result, obliged=True)
        assert planned.row is not Row.RENEW, "the sender sees to it"


def test_renew_what_failed_because_another_s_attempt_was_undone() -> None:
    for sent in (T.SENT, T.CONFIRMED, T.REVERTED):
        gone = decided(S.SUBMITTED, view(), (SUBMIT, sent), obliged=True)
        assert gone == Decision(Row.RENEW), "the attempt, and a response that failed without it"
    back = view(C.ATTEMPTED, ours=True)
    assert decided(S.SUBMITTED, back, (SUBMIT, T.SENT), obliged=True) == Decision(Row.RESEND)
    assert decided(S.SUBMITTED, back, (SUBMIT, T.REVERTED), obliged=True) == Decision(Row.RENEW)
    late = decided(S.SUBMITTED, view(), (SUBMIT, T.REVERTED), obliged=True, now=float(EXPIRY))
    assert late.row is Row.REFUSED


def test_refused_is_told_by_the_last_that_was_planned_of_a_kind() -> None:
    chain = view(C.ATTEMPTED, ours=True)
    again = ((SUBMIT, T.REVERTED), (ATTEMPT, T.CONFIRMED), (SUBMIT, T.SENT))
    assert decided(S.SUBMITTED, chain, *again) == Decision(Row.RESEND)


@pytest.mark.parametrize("attempt", [T.SENT, T.MINED, T.CONFIRMED, T.REVERTED, T.ABANDONED])
def test_run_goes_on_where_the_attempt_is_there_whatever_became_of_the_transaction(attempt: IntentState) -> None:
    chain = view(C.ATTEMPTED, ours=True)
    assert decided(S.ATTEMPTED, chain, (ATTEMPT, attempt)) == Decision(Row.RUN)
    assert decided(S.EXECUTING, chain, (ATTEMPT, attempt)) == Decision(Row.LISTEN)


def test_listen_where_what_was_called_still_runs() -> None:
    assert decided(S.EXECUTING, view(C.ATTEMPTED, ours=True), up=True) == Decision(Row.LISTEN)


def test_restart_where_what_was_called_is_gone() -> None:
    assert decided(S.EXECUTING, view(C.ATTEMPTED, ours=True), up=False) == Decision(Row.RESTART)


@pytest.mark.parametrize("state", [S.EXECUTING, S.PRODUCED, S.PINNED])
@pytest.mark.parametrize("up", [True, False])
def test_publish_a_stored_result_whatever_runs(state: TaskState, up: bool) -> None:
    assert decided(state, view(C.ATTEMPTED, ours=True), up=up, result=True) == Decision(Row.PUBLISH)


def test_settle_notes_a_response_that_is_there_with_what_the_logs_would_have_said() -> None:
    chain = view(C.FINALIZED, ours=True, answered=True, winner=US)
    decision = decided(S.SUBMITTED, chain, (SUBMIT, T.SENT))
    assert decision == Decision(Row.SETTLE, None, {"response": RESPONSE, "finalized_block": 42})
    known = decided(S.SUBMITTED, chain, (SUBMIT, T.SENT), response=RESPONSE, finalized_block=7)
    assert known == Decision(Row.SETTLE, None, {})
    manual = decided(S.RESPONDED, view(C.RESPONDED, ours=True, answered=True))
    assert manual.changes == {"response": RESPONSE}


@pytest.mark.parametrize("effect", [ATTEMPT, SUBMIT])
@pytest.mark.parametrize("state", [T.REVERTED, T.ABANDONED])
def test_refused_ends_the_task_of_a_failed_transaction_whose_end_nobody_heard_of(
    effect: Effect, state: IntentState
) -> None:
    decision = decided(S.SUBMITTED if effect is SUBMIT else S.EXECUTING, view(), (effect, state))
    assert decision.row is Row.REFUSED
    assert decision.step is not None
    assert (decision.step.to, decision.step.reasons[0].code) == (S.FAILED, f"{effect}.reverted")
    late = decided(S.EXECUTING, view(), (effect, state), now=float(EXPIRY))
    assert late.step is not None
    assert late.step.to is S.EXPIRED


@pytest.mark.parametrize("state", [s for s in S if s not in OVER | {S.SUBMITTED, S.RESPONDED}])
def test_elsewhere_ends_a_task_that_this_key_answered_from_another_host(state: TaskState) -> None:
    decision = decided(state, view(C.FINALIZED, answered=True, winner=US))
    assert decision.row is Row.ELSEWHERE
    assert decision.step is not None
    assert (decision.step.to, decision.step.reasons[0].code) == (S.FAILED, "submit.elsewhere")


@pytest.mark.parametrize(
    ("chain", "end"),
    [
        (view(C.CANCELED), S.CANCELED),
        (view(C.EXPIRED), S.EXPIRED),
        (view(C.FINALIZED, winner=OTHER), S.LOST),
    ],
)
@pytest.mark.parametrize("state", [s for s in S if s not in OVER])
def test_stop_what_the_chain_ended(state: TaskState, chain: TaskView, end: TaskState) -> None:
    decision = decided(state, chain, (ATTEMPT, T.SENT))
    assert decision.row is Row.STOP
    assert decision.step is not None
    assert decision.step.to is end


@pytest.mark.parametrize("ours", [True, False])
def test_adopt_an_open_task_without_a_row(ours: bool) -> None:
    assert decided(None, view(C.ATTEMPTED, ours=ours)) == Decision(Row.ADOPT)


@pytest.mark.parametrize("chain", [view(C.FINALIZED), view(C.RESPONDED, answered=True), view(C.CANCELED)])
def test_leave_one_without_a_row_that_is_over_or_answered(chain: TaskView) -> None:
    assert decided(None, chain) == Decision(Row.LEAVE)
    assert decided(None, view(), now=float(EXPIRY)) == Decision(Row.LEAVE)


@pytest.mark.parametrize("state", sorted(OVER))
def test_leave_a_row_that_is_over(state: TaskState) -> None:
    assert decided(state, view(C.FINALIZED, winner=OTHER)) == Decision(Row.LEAVE)


@pytest.mark.parametrize("state", [S.SEEN, S.ADMITTED, S.READY, S.ATTEMPTED])
def test_run_what_is_before_the_call(state: TaskState) -> None:
    assert decided(state, view(C.ATTEMPTED, ours=True)) == Decision(Row.RUN)


def test_every_row_is_in_the_table_and_has_a_test_of_its_name() -> None:
    import ogpu_provider.pipeline.recovery as module

    assert module.__doc__ is not None
    for one in Row:
        assert f"    {one.name} " in module.__doc__
        assert any(name.startswith(f"test_{one.value}_") for name in globals()), one


def executing(**fields: object) -> Task:
    return Task(TASK, SOURCE, S.EXECUTING, 1, 1.0, updated_at=100.0, deadline=300.0, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("longest", "started", "accepted", "at"),
    [
        (None, 110.0, 0.0, 200.0),  # nothing is known: half of the time left
        (5.0, 105.0, 0.0, 115.0),  # three times as long as ever
        (5.0, 105.0, 102.0, 117.0),
        (0.1, 105.0, 0.0, 107.0),  # but we listen for two seconds
        (90.0, 105.0, 0.0, 200.0),  # and half at most
        (1.0, 250.0, 0.0, 200.0),
    ],
)
def test_a_result_is_waited_for_as_long_as_it_may_take(
    longest: float | None, started: float, accepted: float, at: float
) -> None:
    assert call_again_at(executing(accepted_at=accepted), longest=longest, started=started) == at
