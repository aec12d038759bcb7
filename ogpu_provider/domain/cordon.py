"""A card that is out of use for its health."""

from dataclasses import dataclass

from ogpu_provider.domain.verdict import Reason


@dataclass(frozen=True, slots=True)
class Cordon:
    """`card` is the id of the whole card, also where it is split. Times in unix seconds.

    It stands while `lifted_at` is None; `lifted_by` says what lifted it: a test, or the operator.
    """

    card: str
    name: str
    reason: Reason
    at: float
    lifted_at: float | None = None
    lifted_by: str = ""
