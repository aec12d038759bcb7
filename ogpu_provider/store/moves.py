"""What a save does to a row, as pure functions; both stores use them, so they cannot differ."""

import json
from collections.abc import Mapping
from dataclasses import fields, replace

from ogpu_provider.domain.errors import StoreError
from ogpu_provider.domain.intent import IntentRow, IntentState
from ogpu_provider.domain.task import EDGES, JournalLine, Task, Transition
from ogpu_provider.domain.units import Hash, Wei

_OWN = frozenset({"address", "source", "state", "version", "boot", "updated_at", "seen_block", "seen_at"})
CHANGEABLE = frozenset(f.name for f in fields(Task)) - _OWN
"""Fields of a task that a step may change; the store keeps the others."""


def advance(task: Task, step: Transition, *, at: float, boot: str) -> tuple[Task, JournalLine]:
    """The row after `step` and its line of history. Raises StoreError store.no_edge, .bad_change, .bad_value."""
    if step.to not in EDGES[task.state]:
        raise StoreError(f"{task.address}: no way from {task.state} to {step.to}", code="store.no_edge")
    changes = _checked(task, step.changes)
    if step.to.over:
        if step.reasons:
            changes |= {"code": step.reasons[0].code, "reason": step.reasons[0].text}
            _storable(task, changes)
    else:  # an obligation may bring a declined task back: what was said against it no longer holds
        changes = {"code": "", "reason": ""} | changes
    moved = task.but(**changes, state=step.to, version=task.version + 1, boot=boot, updated_at=at)
    return moved, JournalLine(task.address, at, task.state, step.to, boot, step.reasons, detail(step))


def amend(task: Task, changes: Mapping[str, object], *, at: float) -> Task:
    """The row after a change that is no step. Raises StoreError store.bad_change, .bad_value."""
    return task.but(**_checked(task, changes), version=task.version + 1, updated_at=at)


def first_line(task: Task) -> JournalLine:
    """How a task's history begins."""
    return JournalLine(task.address, task.seen_at, None, task.state, task.boot)


def detail(step: Transition) -> dict[str, object]:
    """Changed fields as JSON has them, without the input's text, which may be large; and the intent's key;
    what the rules said as [code, passed, text, setting]."""
    kept: dict[str, object] = {name: value for name, value in step.changes.items() if name != "data"}
    if step.intent is not None:
        kept["intent"] = step.intent.key
    if step.rulings:
        kept["rulings"] = [[one.code, one.passed, one.text, one.setting] for one in step.rulings]
    return {name: _plain(value) for name, value in kept.items()}


def _plain(value: object) -> object:
    """As JSON gives it back."""
    if value is None or type(value) in (str, int, float, bool):
        return value
    plain: object = json.loads(json.dumps(value))
    return plain


def move(
    row: IntentRow,
    state: IntentState,
    *,
    at: float,
    tx_hash: Hash | None = None,
    block_number: int | None = None,
    block_hash: Hash | None = None,
    gas_used: int | None = None,
    fee_paid: Wei | None = None,
) -> IntentRow:
    """The intent after a move. What a block said goes with the block.

    A closed intent opens again only where the block that closed it was undone: to SENT, and if it was in one.
    Raises StoreError store.intent_closed.
    """
    undone = state is IntentState.SENT and row.block_number is not None
    if not row.state.open and state is not row.state and not undone:
        raise StoreError(f"intent {row.intent.key} is {row.state}", code="store.intent_closed")
    if row.block_number is not None and state in (IntentState.PLANNED, IntentState.SIGNED, IntentState.SENT):
        row = replace(row, block_number=None, block_hash=None, gas_used=None, fee_paid=None)
    given = {
        "tx_hash": tx_hash,
        "block_number": block_number,
        "block_hash": block_hash,
        "gas_used": gas_used,
        "fee_paid": fee_paid,
    }
    kept = {name: value for name, value in given.items() if value is not None}
    return replace(row, state=state, updated_at=at, **kept)  # type: ignore[arg-type]


def _checked(task: Task, changes: Mapping[str, object]) -> dict[str, object]:
    wrong = sorted(set(changes) - CHANGEABLE)
    if wrong:
        raise StoreError(f"{task.address}: a step cannot change {', '.join(wrong)}", code="store.bad_change")
    _storable(task, changes)
    return dict(changes)


def _storable(task: Task, changes: Mapping[str, object]) -> None:
    """A JSON text of a stranger can name half a character, which no file can hold."""
    for name, value in changes.items():
        try:
            if isinstance(value, str):
                value.encode()
        except UnicodeEncodeError as error:
            raise StoreError(f"{task.address}: {name} is not text: {error.reason}", code="store.bad_value") from error
