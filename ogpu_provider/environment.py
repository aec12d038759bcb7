"""The process environment, and its only reader. Standard library only: the command line starts with it."""

import os
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import NoReturn

PREFIX = "OGPU_PROVIDER_"
INCUMBENT_KEY = "PROVIDER_PRIVATE_KEY"


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


def credentials_directory(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Where systemd puts LoadCredential files of this service."""
    value = environ.get("CREDENTIALS_DIRECTORY")
    return Path(value) if value else None
