"""Nobody reads what a command prints: it ends as SIGPIPE would have ended it, and says nothing about it."""

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import pytest

from ogpu_provider.cli.main import UNHEARD, invoke
from tests.unit.cli.conftest import LIVE, SOURCE, Shell

REFUSED = str(Path(__file__).parents[2] / "security" / "ordinary" / "vllm-documented.yml")
COMMANDS = [
    ("tasks",),
    ("tasks", "list", "--json"),
    ("tasks", "show", LIVE),
    ("tasks", "show", "0x2222", "--json"),
    ("tasks", "logs", LIVE),
    ("why", LIVE),
    ("status",),
    ("status", "--json"),
    ("earnings",),
    ("sources",),
    ("sources", "list", "--json"),
    ("config", "show"),
    ("config", "explain"),
    ("alerts",),
]
WITHOUT_SETTINGS = [("compose", "check", REFUSED, "--environment", "cpu")]


@contextmanager
def unread() -> Iterator[TextIO]:
    """The writing end of a pipe whose reader has left."""
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as stream:
        yield stream


@pytest.mark.parametrize("words", [*COMMANDS, *WITHOUT_SETTINGS], ids=" ".join)
def test_a_command_ends_quietly(words: tuple[str, ...], shell: Shell, journal: Callable[[], None]) -> None:
    journal()
    settings = words in COMMANDS
    heard = shell(*words, config=settings)
    said = io.StringIO()
    with unread() as out, contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
        code = invoke([*words, "--config", str(shell.config)] if settings else list(words))
    assert code == (UNHEARD if heard.out else heard.code)
    assert said.getvalue() == heard.err


def test_an_error_that_nobody_reads_is_none_of_its_own(shell: Shell) -> None:
    with unread() as out, contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        assert invoke(["why", SOURCE, "--config", str(shell.config)]) == UNHEARD


@pytest.mark.parametrize(
    "words",
    [("--help",), ("compose", "check", REFUSED, "--environment", "cpu"), ("doctor", "--only", "data_dir_private")],
)
def test_a_process_leaves_nothing_on_its_way_out(words: tuple[str, ...]) -> None:
    """Not even what the interpreter says of a buffer that it could not empty."""
    with unread() as out:
        command = [sys.executable, "-m", "ogpu_provider.cli.main", *words]
        ran = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, timeout=120, check=False)
    assert (ran.returncode, ran.stderr) == (UNHEARD, b"")
