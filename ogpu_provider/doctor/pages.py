"""`python -m ogpu_provider.doctor.pages [FILE]` writes docs/doctor.md: what is checked, what it means, what to do."""

import sys
from collections.abc import Iterator
from pathlib import Path

from ogpu_provider.doctor import registry
from ogpu_provider.doctor.check import Check
from ogpu_provider.doctor.finding import Topic
from ogpu_provider.doctor.floors import table

PAGE = Path("docs/doctor.md")
_HEAD = """\
# What `ogpu-provider doctor` looks at

<!-- written by `python -m ogpu_provider.doctor.pages`; change the checks, not this page -->

    ogpu-provider doctor [--json] [--fix] [--only ID|TOPIC ...]

{count} checks run at once, each with a time limit. A check is *ok*, *failed*, *unknown* (it could not find out) or
*skipped* (it does not apply here, or builds on something that failed). What a failure costs is its severity: an
**error** means that it does not work, a **warning** that it works at a risk or a loss, **info** that it is worth
knowing. Some checks have a graver severity for the worst cases; the table shows the usual one.

The exit code is 1 if any check failed with an error, 0 otherwise. `--json` writes
`{{"checks": [{{"id", "status", "severity", "found", "meaning", "remedy", "fixable"}}]}}`. `--fix` changes modes
of this program's own files and makes its folder, nothing else; every fix can be run again. Nothing secret is printed.

`register` runs the checks of the topics machine, engine, gpu, chain and services, and goes on without errors, or
over warnings with `--accept-warnings`.

No image is fetched for the checks that start a container: it has an empty file system, this host's programs
read-only in it, no capabilities, and is removed at once.
"""


def page() -> str:
    return "\n".join([_HEAD.format(count=len(registry.every())), *_topics(), *_floors()])


def _topics() -> Iterator[str]:
    for topic in Topic:
        yield f"## {topic.value}\n"
        for check in registry.every():
            if check.topic is topic:
                yield from _check(check)


def _check(check: Check) -> Iterator[str]:
    fix = "; `--fix` mends it" if check.fix else ""
    yield f"### {check.id}\n"
    yield f"{check.title[:1].upper()}{check.title[1:]} ({check.severity.value}{fix}). {check.meaning}\n"
    yield f"*What to do:* {check.remedy}.\n"


def _floors() -> Iterator[str]:
    yield "## Version floors\n"
    yield (
        "From `ogpu_provider/doctor/floors.toml`. Below *works* is an error; an open issue is a warning, because a "
        "distribution may have mended its own build without changing the version. Of several fixed versions, the one "
        "of the installed branch counts.\n"
    )
    yield "| component | works from | fixed in | issue |"
    yield "|---|---|---|---|"
    for floor in table().values():
        rows = [(", ".join(map(str, issue.fixed)), issue.reason) for issue in floor.issues]
        if floor.maintained:
            rows.append((f"branches {', '.join(map(str, floor.maintained))} and newer", floor.unmaintained))
        for fixed, reason in rows:
            yield f"| {floor.name} | {floor.works} | {fixed} | {reason} |"
    yield ""


if __name__ == "__main__":
    (Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE).write_text(page(), encoding="utf-8")
