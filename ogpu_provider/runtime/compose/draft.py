"""A service while it is read: values so far, and the ways in which keys are turned into values."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ogpu_provider.runtime.compose import devices
from ogpu_provider.runtime.compose.policy import Limits
from ogpu_provider.runtime.compose.reader import Field

NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}")
"""Of services, volumes and aliases."""


@dataclass(slots=True)
class Draft:
    """`values` become a `model.Service`; `known` are the variables that an author may name."""

    name: str
    limits: Limits
    known: dict[str, str]
    values: dict[str, Any] = field(default_factory=dict)
    gpu: devices.Need = devices.NOTHING


Reader = Callable[[Draft, Field], None]
"""Reads one key into the draft, or refuses its value."""


def take(name: str, read: Callable[[Field], Any]) -> Reader:
    """A key whose value is kept as it was read; null leaves the default."""

    def reader(draft: Draft, at: Field) -> None:
        value = read(at)
        if value is not None:
            draft.values[name] = value

    return reader


def matching(pattern: re.Pattern[str], what: str, code: str = "compose.type") -> Callable[[Field], str | None]:
    def read(at: Field) -> str | None:
        text = at.text()
        if text is not None and not pattern.fullmatch(text):
            at.refuse(code, f"{text[:60]!r} is not {what}")
            return None
        return text

    return read


def must_be(wanted: bool, code: str, message: str) -> Reader:
    def reader(_draft: Draft, at: Field) -> None:
        if at.flag() not in (None, wanted):
            at.refuse(code, message)

    return reader


def noted(message: str, read: Callable[[Field], Any]) -> Reader:
    """A key whose value counts for nothing, because ours does; of the right kind it has to be."""

    def reader(_draft: Draft, at: Field) -> None:
        read(at)
        at.note(message)

    return reader
