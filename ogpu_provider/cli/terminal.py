"""Asking a person, on a terminal of any kind, or going by flags where there is none.

Plain lines only: no cursor, no colours, no assumptions about width. With --json the talk goes to standard error, so
that standard output holds one document.
"""

import getpass
import io
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from ogpu_provider.chain.mastery import Unsigned
from ogpu_provider.cli.screen import printable
from ogpu_provider.domain.errors import ConfigError, KeyRefused
from ogpu_provider.domain.units import coin
from ogpu_provider.environment import Secret

TRIES = 3


class Terminal:
    """`yes` takes every default and confirms everything; what has no default must then be a flag."""

    def __init__(self, *, yes: bool, out: TextIO | None = None, typed: TextIO | None = None) -> None:
        self._yes = yes
        self._out = out or sys.stdout or _nowhere()  # None where whoever started this process closed them
        self._in = typed or sys.stdin or _nowhere()

    @property
    def asks(self) -> bool:
        return not self._yes and self._in.isatty()

    def say(self, text: str = "") -> None:
        encoding = self._out.encoding or "ascii"
        try:
            for line in text.split("\n"):
                print(printable(line).encode(encoding, "replace").decode(encoding), file=self._out)
            self._out.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._out.fileno())  # what is still in the buffer goes there
            raise ConfigError(
                "nobody reads what is said here any more, so nothing more is done",
                code="usage.no_reader",
                remedy="run this again; with --json it talks on standard error",
            ) from None

    def ask(self, question: str, *, flag: str, default: str = "") -> str:
        if not self.asks:
            if self._yes and default:
                return default
            raise _unanswered(question, flag)
        shown = f"{question} [{default}] " if default else f"{question} "
        for _ in range(TRIES):
            if answer := self._line(shown) or default:
                return answer
        raise _unanswered(question, flag)

    def confirm(self, question: str, *, flag: str, default: bool = True) -> bool:
        if self._yes:
            return True
        if not self.asks:
            raise _unanswered(question, flag)
        for _ in range(TRIES):
            answer = self._line(f"{question} [{'Y/n' if default else 'y/N'}] ").lower()
            if answer in ("", "y", "yes", "n", "no"):
                return default if not answer else answer.startswith("y")
        return False

    def secret(self, question: str, *, flag: str, twice: bool = False) -> Secret:
        if not self.asks:
            raise _unanswered(question, flag)
        with _interruptible():
            answer = getpass.getpass(f"{question} ", stream=self._out)
            if twice and getpass.getpass("Once more: ", stream=self._out) != answer:
                raise KeyRefused("the two passwords differ", code="key.password", remedy="run this again")
        if not answer:
            raise KeyRefused("nothing was typed", code="key.no_password", remedy="run this again")
        return Secret(answer)

    def show(self, transaction: Unsigned, *, signer: str, currency: str, sentence: str) -> None:
        value = f"{transaction.value} wei ({coin(transaction.value)} {currency})"
        facts = (
            ("from", signer),
            ("chain", str(transaction.chain_id)),
            ("to", transaction.to),
            ("value", value),
            ("data", "0x" + transaction.data.hex()),
            ("in words", transaction.words),
            ("link", transaction.link),
        )
        self.say("\n" + sentence)
        for name, text in facts:
            self.say(f"  {name:<9}{text}")
        if self._out.isatty() and (drawn := picture(transaction.link, self._out.encoding or "ascii")):
            self.say(drawn)

    def _line(self, shown: str) -> str:
        with _interruptible():
            print(shown, end="", file=self._out, flush=True)
            line = self._in.readline()
        if not line:
            raise ConfigError("the input ended", code="usage.no_answer", remedy="run this again, or use flags")
        return line.strip()


def picture(text: str, encoding: str = "utf-8", columns: int = 0) -> str:
    """A QR code made of half blocks, without escape codes; empty where the terminal cannot show it.

    `columns`: width of the terminal, 0 to ask it.
    """
    import segno

    drawn = io.StringIO()
    segno.make_qr(text, error="l").terminal(drawn, border=2, compact=True)
    lines = drawn.getvalue().splitlines()
    try:
        "█▀▄".encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return ""
    width = columns or shutil.get_terminal_size().columns
    return "\n".join(lines) if max(map(len, lines)) <= width else ""


def _nowhere() -> TextIO:
    return io.TextIOWrapper(open(os.devnull, "r+b", 0))


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C ends a question at once; the event loop would wait for the end of the line."""
    try:
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _unanswered(question: str, flag: str) -> ConfigError:
    return ConfigError(
        f"nobody can be asked: {question}",
        code="usage.no_answer",
        remedy=f"give {flag}, or run this on a terminal"
        if flag != "--yes"
        else "give --yes, or run this on a terminal",
    )
