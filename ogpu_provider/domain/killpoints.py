"""Places where tests let the daemon die, or a call fail. Inactive, and without cost, unless a test armed one.

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
    "container.calling",
    "container.called",
    "result.unsaved",
    "result.saved",
    "pin.started",
    "pin.done",
    *(
        f"{effect}.{side}"
        for effect in ("attempt", "submitResponse")
        for side in ("unsigned", "signed", "sent", "closed")
    ),
)
"""Saves of a transition to a state before and after the commit, and the effects in between.

A transaction: `unsigned` before its bytes are stored, `signed` after, `sent` when a node took them, `closed` when its
end is stored and nobody was told of it.
"""
AFTER_AN_EFFECT = frozenset(p for p in POINTS if p.rpartition(".")[2] in ("saved", "called", "done", "sent", "closed"))
"""Points where something has happened whose answer may still be lost."""
STEPS = ("network", "key", "host", "pairing", "stake", "sources", "summary")
ONBOARDING: tuple[str, ...] = (
    *(f"{step}.done" for step in STEPS),
    *(
        f"{effect}.{side}"
        for effect in ("master", "announceMaster", "deposit", "lock", "register")
        for side in ("signed", "sent")
    ),
)
"""Steps of the guided registration, and its effects, which no task passes."""

_armed = ""


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


_action: Callable[[], None] = _die


def arm(point: str, action: Callable[[], None] = _die) -> None:
    """Die (or do `action`, which may raise) the first time `point` is reached.

    Raises ValueError for a name in neither list.
    """
    global _armed, _action
    if point and point not in POINTS + ONBOARDING:
        raise ValueError(f"no kill point is named {point!r}")
    _armed, _action = point, action


def reach(point: str) -> None:
    global _armed
    if _armed and point == _armed:
        _armed = ""
        _action()
