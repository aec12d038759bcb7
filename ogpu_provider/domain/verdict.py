"""Decisions that can explain themselves."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reason:
    """Why not. `code` is stable (`payment.below_floor`), `text` is one sentence with the numbers in it."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Accepted if nothing speaks against it; every reason is kept, not only the first."""

    reasons: tuple[Reason, ...] = ()

    @property
    def accepted(self) -> bool:
        return not self.reasons
