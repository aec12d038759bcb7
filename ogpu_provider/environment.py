"""The process environment, and its only reader. Standard library only: the command line starts with it."""

import os
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

PREFIX = "OGPU_PROVIDER_"
INCUMBENT_KEY = "PROVIDER_PRIVATE_KEY"
FIRST_DESCRIPTOR = 3
"""Of those that systemd passes (SD_LISTEN_FDS_START)."""


class Secret:
    """Text that no log, repr, pickle or f-string gives away."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")


def take_incumbent_key(environ: MutableMapping[str, str] = os.environ) -> Secret | None:
    """Remove the private key that Provider Suite keeps in the environment, and return it.

    Called before anything else, so that no child process inherits it. The kernel still shows the variable in
    /proc/<pid>/environ of this process; only a start without it avoids that.
    """
    value = environ.pop(INCUMBENT_KEY, None)
    return Secret(value) if value else None


def variables(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Our own variables, without the prefix, in upper case."""
    return {name[len(PREFIX) :]: value for name, value in environ.items() if name.startswith(PREFIX)}


def debug(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether errors are shown with their traceback."""
    return environ.get(PREFIX + "DEBUG", "") not in ("", "0")


def colours(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether a terminal may be sent colours and cursor moves: unless NO_COLOR is set, or it is a dumb one."""
    return not environ.get("NO_COLOR") and environ.get("TERM", "") not in ("", "dumb")


def credentials_directory(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Where systemd puts LoadCredential files of this service."""
    value = environ.get("CREDENTIALS_DIRECTORY")
    return Path(value) if value else None


def inherited(changes: Mapping[str, str], environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """This process's variables with `changes`, for a program that takes its place or is its child."""
    return {**environ, **changes}


def others(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """This process's variables without our own: for a daemon that is not the operator's, such as the demo's."""
    return {name: value for name, value in environ.items() if not name.startswith(PREFIX)}


@dataclass(frozen=True, slots=True)
class ServiceManager:
    """What systemd told this process: where it listens, how long it waits for a sign of life (seconds), its sockets."""

    notify_socket: str = ""
    watchdog: float | None = None
    descriptors: tuple[int, ...] = ()


def take_service_manager(environ: MutableMapping[str, str] = os.environ, pid: int | None = None) -> ServiceManager:
    """Remove systemd's variables, so that no child process answers in our place, and return what they say to us.

    Descriptors and watchdog are another process's where LISTEN_PID or WATCHDOG_PID is not `pid`.
    """
    own = str(os.getpid() if pid is None else pid)
    taken = {
        name: environ.pop(name, "")
        for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")
    }
    period = _count(taken["WATCHDOG_USEC"]) if taken["WATCHDOG_PID"] in ("", own) else 0
    sockets = _count(taken["LISTEN_FDS"]) if taken["LISTEN_PID"] == own else 0
    return ServiceManager(
        taken["NOTIFY_SOCKET"],
        period / 1e6 if period else None,
        tuple(range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + sockets)),
    )


def _count(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0
