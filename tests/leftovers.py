"""What a test changes for its whole process does not reach the next test."""

import logging
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import structlog


@dataclass(frozen=True, slots=True)
class Ways:
    """What every test of a process may rely on to be as it was."""

    environment: dict[str, str]
    folder: str
    umask: int
    recursion: int

    @classmethod
    def now(cls) -> "Ways":
        umask = os.umask(0o077)
        os.umask(umask)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        return cls(environment, os.getcwd(), umask, sys.getrecursionlimit())


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Commands set up the log for their process as they end with it; here the next test has the log as it was.

    Anything else that a test leaves changed fails it.
    """
    root, before = logging.getLogger(), Ways.now()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    assert Ways.now() == before, "this test leaves its process other than it found it"
