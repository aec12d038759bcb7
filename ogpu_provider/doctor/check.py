"""A check: what it looks at, what a failure means, what to do."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ogpu_provider.doctor.finding import Severity, Status, Topic
from ogpu_provider.doctor.ports import Context


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look saw. `severity` and `remedy` replace the check's own where they are given.

    `mendable`: whether the check's fix, if it has one, would help against this.
    """

    status: Status
    found: str
    severity: Severity | None = None
    remedy: str = ""
    mendable: bool = True


def ok(found: str) -> Seen:
    return Seen(Status.OK, found)


def failed(found: str, severity: Severity | None = None, remedy: str = "", *, mendable: bool = True) -> Seen:
    return Seen(Status.FAILED, found, severity, remedy, mendable)


def unknown(found: str) -> Seen:
    return Seen(Status.UNKNOWN, found)


def skipped(found: str) -> Seen:
    return Seen(Status.SKIPPED, found)


@dataclass(frozen=True, slots=True)
class Check:
    """`look` may raise: a ProviderError is "could not find out", anything else a bug that is reported as such.

    `needs`: ids of checks without which there is nothing to look at. `fix` mends a failure safely: it touches only
    what is ours, destroys nothing, and can be run again. `seconds`: given up after that.
    """

    id: str
    topic: Topic
    severity: Severity
    title: str
    meaning: str
    remedy: str
    look: Callable[[Context], Awaitable[Seen]]
    needs: tuple[str, ...] = ()
    fix: Callable[[Context], Awaitable[None]] | None = None
    seconds: float = 20.0
