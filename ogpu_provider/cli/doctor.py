"""`ogpu-provider doctor`: is this host fit to serve, and if not, what to do."""

import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from ogpu_provider import environment
from ogpu_provider.cli.options import AsJson, ConfigFile
from ogpu_provider.cli.screen import document, printable

if TYPE_CHECKING:
    from ogpu_provider.doctor.finding import Finding

Only = Annotated[
    tuple[str, ...],
    Parameter(
        name="--only",
        consume_multiple=True,
        negative="",
        show_default=False,
        help="Ids or topics (machine, engine, gpu, chain, services, files, account) of checks; default: all.",
    ),
]
Fix = Annotated[
    bool,
    Parameter(negative="", show_default=False, help="Mend what is safe to mend: modes and folders of our files."),
]

_COLOURS = {"error": "31", "warning": "33", "info": "36", "ok": "32", "unknown": "35", "skipped": "2"}


async def doctor(*, only: Only = (), fix: Fix = False, json: AsJson = False, config: ConfigFile = None) -> int:
    """Look at this host: engine, GPUs, disks, clock, node, key, stake. Exit code 1 if there is an error.

    Warnings do not change the exit code. Nothing is changed without --fix.
    """
    from ogpu_provider import telemetry
    from ogpu_provider.config import load
    from ogpu_provider.doctor.examination import examine

    settings = load(config).settings
    telemetry.configure(level="error", format="text")  # the parts' own words on what fails; the findings say it
    counter = None if json else _progress()
    findings = await examine(settings, only=only, fix=fix, progress=counter)
    if counter is not None:
        counter.clear()
    if json:
        document({"checks": [finding.document() for finding in findings]})
    else:
        show(findings)
    return 1 if any(finding.failed_hard for finding in findings) else 0


def show(findings: Sequence["Finding"], *, colours: bool | None = None) -> None:
    """For people: by topic, what is good in one line, what is not with its meaning and what to do."""
    painted = sys.stdout.isatty() and environment.colours() if colours is None else colours
    width = max((len(finding.id) for finding in findings), default=0)
    topic = None
    for finding in findings:
        if finding.topic is not topic:
            topic = finding.topic
            print(f"\n{topic.value}" if finding is not findings[0] else topic.value)
        word = finding.severity.value if finding.status.value == "failed" else finding.status.value
        label = word.ljust(7)
        if painted:
            label = f"\x1b[{_COLOURS[word]}m{label}\x1b[0m"
        print(f"  {label}  {finding.id.ljust(width)}  {printable(finding.found)}".rstrip())
        if finding.status.value == "failed":
            mended = " (--fix does it)" if finding.fixable else ""
            _paragraph(finding.meaning, " " * 11)
            _paragraph(printable(finding.remedy) + mended, " " * 11 + "-> ")
    errors, warnings = sum(f.failed_hard for f in findings), sum(f.failed_soft for f in findings)
    print(f"\n{_count(len(findings), 'check')}: {_count(errors, 'error')}, {_count(warnings, 'warning')}")


def _paragraph(text: str, margin: str) -> None:
    width = max(len(margin) + 20, min(120, shutil.get_terminal_size().columns))
    print(textwrap.fill(text, width, initial_indent=margin, subsequent_indent=" " * len(margin)))


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _progress() -> "_Counter | None":
    return _Counter() if sys.stderr.isatty() and environment.colours() else None


class _Counter:
    """One line on the terminal that counts, and is gone before the report comes."""

    def __init__(self) -> None:
        self._seen = 0

    def __call__(self, finding: "Finding") -> None:
        self._seen += 1
        print(f"\r\x1b[K{self._seen} checks, last {finding.id}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
