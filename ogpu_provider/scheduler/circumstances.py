"""What the scheduler knows at the moment of a decision, besides the task itself."""

from dataclasses import dataclass, field

from ogpu_provider.domain.units import Wei
from ogpu_provider.scheduler.estimate import Estimate
from ogpu_provider.scheduler.price import Costs


@dataclass(frozen=True, slots=True)
class OpenBreaker:
    """`weight` of `limit`; `closes_in` seconds if nothing else happens."""

    weight: float
    limit: float
    closes_in: float


@dataclass(frozen=True, slots=True)
class Circumstances:
    """`source`, `client`: their breakers, None where closed. `closed`: the owner's hours outside of which it is now.

    `in_use`: who is at the machine, where its owner wants it back then. `bid` in wei: what we ask for where the client
    confirms; None: the payment. `chance`: the share of such responses that was paid of late.
    """

    estimate: Estimate = field(default_factory=Estimate)
    costs: Costs = field(default_factory=Costs)
    source: OpenBreaker | None = None
    client: OpenBreaker | None = None
    closed: str = ""
    in_use: str = ""
    bid: Wei | None = None
    chance: float = 1.0
