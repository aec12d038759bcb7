"""Verdicts that several checks give in the same words."""

from ogpu_provider.doctor.check import Seen, failed, ok, unknown
from ogpu_provider.doctor.finding import Severity
from ogpu_provider.doctor.floors import table
from ogpu_provider.doctor.version import parse
from ogpu_provider.domain.units import Wei, coin


def by_floor(component: str, text: str) -> Seen:
    """A version against the table: too old to work is an error, a known hole a warning with its reasons."""
    floor = table()[component]
    version = parse(text)
    if version is None:
        return unknown(f"{floor.name}: {text!r} is not a version")
    if not floor.usable(version):
        return failed(f"{floor.name} {text}; {floor.works} is the oldest that can work", Severity.ERROR)
    if holes := floor.holes(version):
        return failed(f"{floor.name} {text}: {'; '.join(holes)}", Severity.WARNING)
    return ok(f"{floor.name} {text}")


def size(count: float) -> str:
    """Bytes for people: `3.5 GiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def amount(wei: Wei, currency: str) -> str:
    return f"{coin(wei)} {currency}"
