"""A task's life on this host: one row, one state, one step.

    SEEN ─admit─▶ ADMITTED ─prepare─▶ READY ─attempt─▶ ATTEMPTED ─dispatch─▶ EXECUTING ─execute─▶ PRODUCED
      └─▶ DECLINED                                                                                  │pin
                                                                                                    ▼
    SETTLED ◀─settle─ RESPONDED ◀─settle─ SUBMITTED ◀───────────────submit─────────────────────── PINNED
       or LOST          (manual confirmation only)

    any live state ─▶ FAILED(code) | EXPIRED | CANCELED | LOST
    DECLINED ─▶ SEEN   the master or an agent attempted it for us: now it is an obligation
    LOST, EXPIRED, CANCELED, DECLINED ─▶ SEEN   the block that ended it was undone, or that had undone it
    RESPONDED ─▶ SUBMITTED   the response's block was undone
    EXECUTING ─▶ EXECUTING   dispatched again after a restart that cannot know what became of the first

EXECUTING is entered before the container is called (intent before effect), so after a crash a row in it means
"may have been dispatched", and a row in ATTEMPTED means "was not".
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from operator import attrgetter
from types import MappingProxyType

from ogpu_provider.domain.intent import Intent
from ogpu_provider.domain.resources import Lease, task_holder
from ogpu_provider.domain.source import DeliveryMethod, Environment
from ogpu_provider.domain.units import Address, Wei
from ogpu_provider.domain.verdict import Reason, Ruling


class TaskState(StrEnum):
    SEEN = "seen"
    ADMITTED = "admitted"
    READY = "ready"
    ATTEMPTED = "attempted"
    EXECUTING = "executing"
    PRODUCED = "produced"
    PINNED = "pinned"
    SUBMITTED = "submitted"
    RESPONDED = "responded"
    SETTLED = "settled"
    LOST = "lost"
    DECLINED = "declined"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELED = "canceled"

    @property
    def over(self) -> bool:
        return self in OVER


_S = TaskState
OVER = frozenset({_S.SETTLED, _S.LOST, _S.DECLINED, _S.FAILED, _S.EXPIRED, _S.CANCELED})
BEFORE_ATTEMPT = frozenset({_S.SEEN, _S.ADMITTED, _S.READY})
"""Nothing is owed yet, unless another has attempted for us."""
HOLDING = frozenset({_S.ADMITTED, _S.READY, _S.ATTEMPTED, _S.EXECUTING})
"""States in which a task holds its lease. Nothing else decides it, so no path can leak one."""
AT_WORK = HOLDING | {_S.PRODUCED, _S.PINNED}
"""Accepted, and our part is not done yet."""

_ENDS = frozenset({_S.FAILED, _S.EXPIRED, _S.CANCELED, _S.LOST})
EDGES: Mapping[TaskState, frozenset[TaskState]] = MappingProxyType(
    {
        _S.SEEN: _ENDS | {_S.ADMITTED, _S.DECLINED},
        _S.ADMITTED: _ENDS | {_S.READY, _S.DECLINED},
        _S.READY: _ENDS | {_S.ATTEMPTED, _S.DECLINED},
        _S.ATTEMPTED: _ENDS | {_S.EXECUTING},
        _S.EXECUTING: _ENDS | {_S.EXECUTING, _S.PRODUCED},
        _S.PRODUCED: _ENDS | {_S.PINNED},
        _S.PINNED: _ENDS | {_S.SUBMITTED},
        _S.SUBMITTED: _ENDS | {_S.RESPONDED, _S.SETTLED},
        _S.RESPONDED: _ENDS | {_S.SETTLED, _S.SUBMITTED},
        _S.DECLINED: frozenset({_S.SEEN}),
        _S.SETTLED: frozenset(),
        _S.LOST: frozenset({_S.SEEN}),
        _S.FAILED: frozenset(),
        _S.EXPIRED: frozenset({_S.SEEN}),
        _S.CANCELED: frozenset({_S.SEEN}),
    }
)


@dataclass(frozen=True, slots=True)
class Task:
    """One row. `version` grows by one with every save and guards it; `boot` names the process that saved it.

    Times in unix seconds: `expiry` is the chain's, `deadline` is ours for having the result. `payment` in wei.
    `accepted_at` is when the container took the last dispatch, 0 while that is unknown.
    `data` is the JSON text of the config's `data`. `obliged`: attempted on our behalf before we decided. `bid` in wei:
    what we ask for where the client confirms; None: the payment.
    """

    address: Address
    source: Address
    state: TaskState
    seen_block: int
    seen_at: float
    version: int = 0
    boot: str = ""
    updated_at: float = 0.0
    obliged: bool = False
    payment: Wei = 0
    expiry: int = 0
    config_url: str = ""
    delivery: DeliveryMethod | None = None
    environment: Environment | None = None
    function: str = ""
    data: str = ""
    slots: int = 0
    devices: tuple[str, ...] = ()
    deadline: float = 0.0
    dispatches: int = 0
    accepted_at: float = 0.0
    cid: str = ""
    link: str = ""
    response: Address | None = None
    finalized_block: int | None = None
    code: str = ""
    reason: str = ""
    bid: Wei | None = None

    @property
    def asks(self) -> Wei:
        """What the attempt suggests and the response asks for: the same number in both."""
        return self.payment if self.bid is None else self.bid

    def but(self, **changes: object) -> "Task":
        """A copy with some fields changed. As dataclasses.replace, which takes twice as long. Raises KeyError."""
        values = list(_values(self))
        for name, value in changes.items():
            values[_PLACES[name]] = value
        return Task(*values)

    @property
    def lease(self) -> Lease | None:
        """What the task holds, None outside the HOLDING states."""
        if self.state not in HOLDING:
            return None
        return Lease(task_holder(self.address), self.slots, self.devices, self.source)


_PLACES = {field.name: place for place, field in enumerate(fields(Task))}
_values = attrgetter(*_PLACES)


@dataclass(frozen=True, slots=True)
class Transition:
    """The outcome of a stage: next state, changed fields, journal line, and the transaction to plan, if any.

    Saved as a whole or not at all. `reasons` explain an end; the first one becomes the row's code and reason.
    `rulings`: what was asked for it, for and against; kept in the history.
    """

    to: TaskState
    changes: Mapping[str, object] = field(default_factory=dict)
    reasons: tuple[Reason, ...] = ()
    intent: Intent | None = None
    rulings: tuple[Ruling, ...] = ()


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do before something is heard of the task, or before `until` (unix seconds).

    `changes` are fields to keep meanwhile. `for_room`: all that is missing is what other tasks hold.
    """

    until: float
    why: str
    changes: Mapping[str, object] = field(default_factory=dict)
    for_room: bool = False


Step = Transition | Wait


@dataclass(frozen=True, slots=True)
class JournalLine:
    """One line of a task's history: the transition `before` -> `after` at `at` (unix seconds)."""

    task: Address
    at: float
    before: TaskState | None
    after: TaskState
    boot: str
    reasons: tuple[Reason, ...] = ()
    detail: Mapping[str, object] = field(default_factory=dict)


class ResultOutcome(StrEnum):
    """What became of a posted result. The first body for a task wins."""

    STORED = "stored"
    SAME = "same"
    CONFLICT = "conflict"
    LATE = "late"
    UNKNOWN = "unknown"
