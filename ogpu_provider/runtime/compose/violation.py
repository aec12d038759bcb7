"""What speaks against a compose file, and what we changed in one."""

from dataclasses import dataclass

from ogpu_provider.domain.errors import ComposeRefused
from ogpu_provider.runtime.compose.rules import RULES


@dataclass(frozen=True, slots=True)
class Violation:
    """Why a file is refused. `code` is that of a rule in `rules.RULES`, whose remedy stands in where none is given;
    `key` is the path in the file (`services.web.privileged`), `line` counts from 1.
    """

    code: str
    key: str
    line: int
    message: str
    remedy: str = ""

    def __post_init__(self) -> None:
        if not self.remedy and self.code in RULES:
            object.__setattr__(self, "remedy", RULES[self.code].remedy)

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
