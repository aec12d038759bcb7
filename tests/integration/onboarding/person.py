"""Somebody at a terminal: reads the prompts of a command on a pseudo-terminal, and answers or presses Ctrl-C."""

import errno
import os
import re
import select
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.integration.onboarding.nursery import Child, Nursery

CTRL_C = "\x03"


class Person:
    """`answers`: what is typed at a prompt that the pattern matches; the person gives up, once, at each pattern that
    is not in `tired_of` yet, if that is given. `marks`: what to do when some text is on the screen. `columns`: width
    of the terminal, 0 if it does not tell."""

    def __init__(
        self,
        answers: Mapping[str, str],
        *,
        tired_of: set[str] | None = None,
        marks: Mapping[str, Callable[[str], object]] | None = None,
        columns: int = 0,
    ) -> None:
        self._answers = answers
        self._tired_of = tired_of
        self._marks = dict(marks or {})
        self._columns = columns
        self.seen = ""

    def run(self, nursery: Nursery, words: Sequence[str], *, timeout: float = 240.0, **how: Any) -> int:
        """Blocks; returns the exit code. `how`: see `Nursery.start`."""
        terminal, theirs = os.openpty()
        termios.tcsetwinsize(terminal, (25, self._columns) if self._columns else (0, 0))
        child = nursery.start(words, (theirs, theirs, theirs), **how)
        os.close(theirs)
        try:
            self._talk(terminal, child, time.monotonic() + timeout)
            return child.wait(20.0)
        finally:
            child.kill()
            os.close(terminal)

    def _talk(self, terminal: int, child: Child, end: float) -> None:
        """Until the command has closed the terminal, which it does by ending."""
        unread = ""
        while piece := _piece(terminal, end):
            self.seen += piece
            unread += piece
            for mark in [mark for mark in self._marks if mark in self.seen]:
                self._marks.pop(mark)(self.seen)
            line = unread.rsplit("\n", 1)[-1]
            pattern = next((one for one in self._answers if re.search(one, line)), None)
            if pattern is None:
                continue
            unread = ""
            if self._tired_of is not None and pattern not in self._tired_of:
                self._tired_of.add(pattern)
                os.write(terminal, CTRL_C.encode())
            else:
                os.write(terminal, (self._answers[pattern] + "\n").encode())


def _piece(terminal: int, end: float) -> str:
    """What is on the screen next; nothing when the other side is closed."""
    ready, _, _ = select.select([terminal], [], [], max(0.0, end - time.monotonic()))
    assert ready, "the command said nothing more"
    try:
        return os.read(terminal, 65536).decode(errors="replace")
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return ""
