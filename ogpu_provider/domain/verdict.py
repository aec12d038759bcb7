"""Decisions that can explain themselves."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reason:
    """Why not. `code` is stable (`payment.below_floor`), `text` is one sentence with the numbers in it."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Ruling:
    """What one rule found, for or against, with its numbers. `code` is the reason's where it speaks against.

    `setting`: what would have let it pass, as a line of the settings file; empty where no setting would.
    """

    code: str
    passed: bool
    text: str
    setting: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Accepted if nothing speaks against it; every reason is kept, not only the first.

    `rulings`: everything that was asked, in order, also what passed.
    """

    reasons: tuple[Reason, ...] = ()
    rulings: tuple[Ruling, ...] = ()

    @property
    def accepted(self) -> bool:
        return not self.reasons


def verdict(rulings: tuple[Ruling, ...]) -> Verdict:
    """What rulings come to; the first that did not pass is the one that decided."""
    return Verdict(tuple(Reason(ruling.code, ruling.text) for ruling in rulings if not ruling.passed), rulings)
