"""What the operator asked for while the daemon ran. It goes before the settings and holds over a restart."""

from dataclasses import dataclass
from enum import StrEnum

from ogpu_provider.domain.units import Address


class Want(StrEnum):
    PAUSE = "pause"  # take no new task
    DRAIN = "drain"  # take no new task, and end when nothing is owed any more
    SERVE = "serve"  # of a source
    LEAVE = "leave"  # of a source: its project goes, the registration stays
    UNREGISTER = "unregister"  # of a source: both go


@dataclass(frozen=True, slots=True)
class Wish:
    """`subject` is a source's address, or the name of a wish that concerns all of the provider. `at`: unix seconds."""

    subject: str
    want: Want
    at: float

    @property
    def source(self) -> Address | None:
        return Address(self.subject) if self.subject.startswith("0x") else None
