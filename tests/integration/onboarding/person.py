"""Somebody at a terminal: reads the prompts of a command on a pseudo-terminal, and answers or presses Ctrl-C."""

import errno
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence


class Person:
    """`answers`: what is typed at a prompt that the pattern matches; the person gives up, once, at each pattern that
    is not in `tired_of` yet, if that is given. `marks`: what to do when some text is on the screen."""

    def __init__(
        self,
        answers: Mapping[str, str],
        *,
        tired_of: set[str] | None = None,
        marks: Mapping[str, Callable[[str], None]] | None = None,
    ) -> None:
        self._answers = answers
        self._tired_of = tired_of
        self._marks = dict(marks or {})
        self.seen = ""

    def run(self, words: Sequence[str], *, environ: Mapping[str, str] | None = None, timeout: float = 90.0) -> int:
        """Blocks; returns the exit code."""
        terminal, theirs = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "ogpu_provider.cli.main", *words],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            env={**os.environ, **(environ or {})},
        )
        os.close(theirs)
        try:
            self._talk(terminal, process, time.monotonic() + timeout)
            while True:  # what is said in the end
                ready, _, _ = select.select([terminal], [], [], 0.5)
                if ready:
                    self.seen += os.read(terminal, 65536).decode(errors="replace")
                elif process.poll() is not None:
                    return process.returncode
        except OSError as error:
            if error.errno != errno.EIO:  # the terminal is closed
                raise
            return process.wait(timeout=20)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            os.close(terminal)

    def _talk(self, terminal: int, process: "subprocess.Popen[bytes]", end: float) -> None:
        fresh = ""
        while True:
            assert time.monotonic() < end, self.seen
            ready, _, _ = select.select([terminal], [], [], 0.5)
            if not ready:
                if process.poll() is not None:
                    return
                continue
            try:
                piece = os.read(terminal, 65536).decode(errors="replace")
            except OSError as error:
                if error.errno == errno.EIO:
                    return
                raise
            if not piece:
                return
            self.seen += piece
            fresh += piece
            for mark in [mark for mark in self._marks if mark in self.seen]:
                self._marks.pop(mark)(self.seen)
            line = fresh.rsplit("\n", 1)[-1]
            pattern = next((one for one in self._answers if re.search(one, line)), None)
            if pattern is None:
                continue
            fresh = ""
            if self._tired_of is not None and pattern not in self._tired_of:
                self._tired_of.add(pattern)
                process.send_signal(signal.SIGINT)
                return
            os.write(terminal, (self._answers[pattern] + "\n").encode())
