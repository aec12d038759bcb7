"""`ogpu-provider compose`: ask the gate about a compose file."""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import cyclopts
from cyclopts import Parameter

from ogpu_provider.cli.options import AsJson
from ogpu_provider.cli.screen import document, facts, printable
from ogpu_provider.domain.errors import ProviderError
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.units import ZERO_ADDRESS

app = cyclopts.App(name="compose", help="Compose files of sources.")

EXAMPLE_PORT = 49152


@app.command
def check(
    file: Annotated[Path, Parameter(help="A compose file, or - for standard input.", allow_leading_hyphen=True)],
    /,
    *,
    environment: Annotated[Literal["cpu", "nvidia", "amd"], Parameter(help="What the file is for.")],
    json: AsJson = False,
) -> int:
    """Check whether a source's compose file would be run here. Exit code 1 if not. Nothing is started."""
    from ogpu_provider.runtime.compose.document import MAX_BYTES
    from ogpu_provider.runtime.compose.gate import fingerprint, inspect
    from ogpu_provider.runtime.compose.interpolation import Variables

    text = _read(file, MAX_BYTES + 1)
    url = f"http://172.17.0.1:{EXAMPLE_PORT}"
    variables = Variables(port=EXAMPLE_PORT, callback_url=url, source=ZERO_ADDRESS, provider=ZERO_ADDRESS)
    project, differences, violations = inspect(text, Environment[environment.upper()], variables)
    accepted = project is not None
    images = [str(service.image) for service in project.services] if project else []
    if json:
        found: dict[str, Any] = {
            "accepted": accepted,
            "environment": environment,
            "sha256": fingerprint(text),
            "devices": project.devices if project else None,
            "images": images,
            "violations": [
                {"code": v.code, "line": v.line, "key": v.key, "message": v.message, "remedy": v.remedy or None}
                for v in violations
            ],
            "differences": [{"line": d.line, "key": d.key, "message": d.message} for d in differences],
        }
        document(found)
        return 0 if accepted else 1
    for violation in violations:
        print(printable(f"{file}:{violation.line}: {violation.key}: {violation.message} [{violation.code}]"))
        if violation.remedy:
            print(printable(f"    remedy: {violation.remedy}"))
    for difference in differences:
        print(printable(f"{file}:{difference.line}: {difference.key}: changed: {difference.message}"))
    if project:
        facts((("accepted for", environment), ("devices", project.devices), ("images", ", ".join(images))))
    else:
        print(f"refused: {len(violations)} violation{'s' if len(violations) > 1 else ''}")
    return 0 if accepted else 1


def _read(file: Path, limit: int) -> bytes:
    if str(file) == "-":
        return sys.stdin.buffer.read(limit)
    try:
        with file.open("rb") as stream:
            return stream.read(limit)
    except OSError as error:
        raise ProviderError(f"{file}: {error.strerror}", code="compose.unreadable", remedy="check the path") from error
