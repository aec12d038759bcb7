"""What speaks against a compose file, and what we changed in one."""

from dataclasses import dataclass

from ogpu_provider.domain.errors import ComposeRefused


@dataclass(frozen=True, slots=True)
class Violation:
    """Why a file is refused. `key` is the path in the file (`services.web.privileged`), `line` counts from 1.

    Codes: compose.syntax, compose.limit, compose.unknown_key, compose.type, compose.variable, compose.secret,
    compose.escape, compose.host_files, compose.host_code, compose.resources, compose.identity, compose.network,
    compose.image, compose.devices, compose.target, compose.reference.
    """

    code: str
    key: str
    line: int
    message: str
    remedy: str = ""

    def __str__(self) -> str:
        place = f"line {self.line}: " if self.line else ""
        return f"{place}{self.key}: {self.message}" if self.key else f"{place}{self.message}"


@dataclass(frozen=True, slots=True)
class Difference:
    """What runs here is not quite what the author wrote, and why."""

    key: str
    line: int
    message: str


class GateRefused(ComposeRefused):
    """Carries every violation; code and remedy are those of the first one."""

    def __init__(self, violations: tuple[Violation, ...]) -> None:
        first = violations[0]
        more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
        super().__init__(f"{first}{more}", code=first.code, remedy=first.remedy)
        self.violations = violations
