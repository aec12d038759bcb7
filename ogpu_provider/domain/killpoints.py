"""Places where tests let the daemon die. Inactive, and without cost, unless a test armed one.

A point is named where a crash would hurt: around each save of a task, each write of the outbox and each effect on
the world. `POINTS` lists them all, so that a test can go through every one.
"""

import os
import signal
from collections.abc import Callable

from ogpu_provider.domain.task import OVER, TaskState

_SAVES = tuple(
    f"task.{state}.{side}"
    for state in TaskState
    if state is TaskState.SETTLED or state not in OVER
    for side in ("unsaved", "saved")
)
POINTS: tuple[str, ...] = (
    *_SAVES,
    "container.called",
    "result.unsaved",
    "result.saved",
    "pin.done",
    "attempt.signed",
    "attempt.sent",
    "submitResponse.signed",
    "submitResponse.sent",
)
"""Saves of a transition to a state before and after the commit, and the effects in between."""

_armed = ""


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


_action: Callable[[], None] = _die


def arm(point: str, action: Callable[[], None] = _die) -> None:
    """Die (or do `action`) the first time `point` is reached. Raises ValueError for a name not in POINTS."""
    global _armed, _action
    if point and point not in POINTS:
        raise ValueError(f"no kill point is named {point!r}")
    _armed, _action = point, action


def reach(point: str) -> None:
    global _armed
    if _armed and point == _armed:
        _armed = ""
        _action()
