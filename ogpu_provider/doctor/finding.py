"""What a check found. Standard library only, so that a command line can name the types without waiting."""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """What a failure costs. ERROR: it does not work; WARNING: it works, at a risk or a loss; INFO: worth knowing."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Status(StrEnum):
    """UNKNOWN: could not find out. SKIPPED: does not apply here, or needs something that failed."""

    OK = "ok"
    FAILED = "failed"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"


class Topic(StrEnum):
    """In the order in which a person should mend things."""

    MACHINE = "machine"
    ENGINE = "engine"
    GPU = "gpu"
    CHAIN = "chain"
    SERVICES = "services"
    FILES = "files"
    ACCOUNT = "account"


HOST = (Topic.MACHINE, Topic.ENGINE, Topic.GPU, Topic.CHAIN, Topic.SERVICES)
"""What can be asked before there is a key, a pairing or a stake."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's result. `fixable`: `examine(..., fix=True)` would mend it."""

    id: str
    topic: Topic
    status: Status
    severity: Severity
    found: str
    meaning: str
    remedy: str
    fixable: bool = False

    @property
    def failed_hard(self) -> bool:
        """An error: do not go on."""
        return self.status is Status.FAILED and self.severity is Severity.ERROR

    @property
    def failed_soft(self) -> bool:
        """A warning: a person decides whether to go on."""
        return self.status is Status.FAILED and self.severity is Severity.WARNING

    @property
    def usable(self) -> bool:
        """Whether checks that build on this one have something to look at."""
        return self.status is Status.OK or (self.status is Status.FAILED and not self.failed_hard)

    def document(self) -> dict[str, object]:
        """As `doctor --json` shows it."""
        return {
            "id": self.id,
            "status": self.status.value,
            "severity": self.severity.value,
            "found": self.found,
            "meaning": self.meaning,
            "remedy": self.remedy,
            "fixable": self.fixable,
        }
