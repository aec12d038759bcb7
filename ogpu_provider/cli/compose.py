"""`ogpu-provider compose`: ask the gate about a compose file."""

import sys
from json import loads as parsed
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import cyclopts
from cyclopts import Parameter

from ogpu_provider.cli.options import AsJson
from ogpu_provider.cli.screen import document, facts, printable
from ogpu_provider.domain.errors import ProviderError
from ogpu_provider.domain.source import Environment

if TYPE_CHECKING:
    from ogpu_provider.runtime.compose.check import Checked

app = cyclopts.App(name="compose", help="Compose files of sources.")


@app.command
def check(
    file: Annotated[Path, Parameter(help="A compose file, or - for standard input.", allow_leading_hyphen=True)],
    /,
    *,
    environment: Annotated[Literal["cpu", "nvidia", "amd"], Parameter(help="What the file is for.")],
    waive: Annotated[
        tuple[str, ...],
        Parameter(negative="", show_default=False, help="Judge as if this rule was lifted. Repeatable."),
    ] = (),
    registry: Annotated[
        tuple[str, ...],
        Parameter(negative="", show_default=False, help="Judge as if images.registries had it, host:port. Repeatable."),
    ] = (),
    json: AsJson = False,
) -> int:
    """Check whether a source's compose file would be run here. Exit code 1 if not. Nothing is started."""
    from ogpu_provider.runtime.compose import check as gate
    from ogpu_provider.runtime.compose.document import MAX_BYTES
    from ogpu_provider.runtime.compose.policy import Limits

    text = _read(file, MAX_BYTES + 1)
    limits = Limits(registries=frozenset(place.lower() for place in registry))
    checked = gate.check(text, Environment[environment.upper()], limits=limits, waived=frozenset(waive))
    if json:
        document(_document(checked, environment))
    else:
        _tell(checked, environment, file)
    return 0 if checked.accepted else 1


def _document(checked: "Checked", environment: str) -> dict[str, Any]:
    rendered = parsed(checked.rendered) if checked.accepted else None
    services = rendered["services"].values() if rendered else ()
    return {
        "accepted": checked.accepted,
        "environment": environment,
        "sha256": checked.compose_sha256,
        "devices": checked.devices if checked.accepted else None,
        "target": checked.target or None,
        "images": [service["image"] for service in services],
        "violations": [
            {"code": v.code, "key": v.key, "line": v.line, "message": v.message, "remedy": v.remedy}
            for v in checked.violations
        ],
        "differences": [{"key": d.key, "line": d.line, "message": d.message} for d in checked.differences],
        "rendered": rendered,
    }


def _tell(checked: "Checked", environment: str, file: Path) -> None:
    for violation in checked.violations:
        print(printable(f"{file}:{violation.line}: {violation.key}: {violation.message} [{violation.code}]"))
        print(printable(f"    remedy: {violation.remedy}"))
    for difference in checked.differences:
        print(printable(f"{file}:{difference.line}: {difference.key}: changed: {difference.message}"))
    if not checked.accepted:
        count = len(checked.violations)
        print(f"refused: {count} violation{'s' if count > 1 else ''}; docs/compose-rules.md has every code")
        return
    found = _document(checked, environment)
    facts((("accepted for", environment), ("devices", checked.devices), ("images", ", ".join(found["images"]))))
    print("\nWhat would run, with example values for address, port, callback and devices:")
    document(found["rendered"])


def _read(file: Path, limit: int) -> bytes:
    if str(file) == "-":
        return sys.stdin.buffer.read(limit)
    try:
        with file.open("rb") as stream:
            return stream.read(limit)
    except OSError as error:
        raise ProviderError(f"{file}: {error.strerror}", code="compose.unreadable", remedy="check the path") from error
