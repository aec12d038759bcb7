"""What the rules look at, and what they answer."""

from dataclasses import dataclass

from ogpu_provider.domain.resources import Lease
from ogpu_provider.domain.source import DeliveryMethod, Environment
from ogpu_provider.domain.units import Address, Wei
from ogpu_provider.domain.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Candidate:
    """All that the rules look at for one task. Amounts in wei, times in unix seconds.

    `now` is the later of wall clock and chain time. `functions` is None while the project is not up. `pull_left`: bytes
    of its images that are still to come.
    """

    task: Address
    source: Address
    client: Address | None
    obliged: bool
    payment: Wei
    expiry: int
    delivery: DeliveryMethod
    environment: Environment | None
    function: str
    functions: frozenset[str] | None
    violations: tuple[str, ...]
    source_problem: str
    now: float
    pull_left: int = 0


@dataclass(frozen=True, slots=True)
class Admission:
    """A verdict, and the lease if it was granted. Accepted without a lease: no room now, ask again.

    `bid` in wei, where the client confirms; None: the payment.
    """

    verdict: Verdict
    lease: Lease | None = None
    shortage: str = ""
    bid: Wei | None = None
