"""A card that is out of use for its health."""

from dataclasses import dataclass
from enum import StrEnum

from ogpu_provider.domain.verdict import Reason


class LiftedBy(StrEnum):
    TEST = "test"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Cordon:
    """`card` is the id of the whole card, also where it is split. Times in unix seconds.

    It stands while `lifted_at` is None; `lifted_by` says what lifted it (`LiftedBy`), empty until then.
    """

    card: str
    name: str
    reason: Reason
    at: float
    lifted_at: float | None = None
    lifted_by: str = ""

    @property
    def text(self) -> str:
        return f"{self.reason.code}: {self.reason.text}"
