"""Sources: containerised applications that clients publish and that we may serve."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

from ogpu_provider.domain.units import Address, Wei


class Environment(IntEnum):
    """Bits of `imageEnvironments`; a registration names exactly one."""

    CPU = 1
    NVIDIA = 2
    AMD = 4

    @property
    def label(self) -> str:
        """The protocol's key in metadata documents: cpu, nvidia, amd."""
        return self.name.lower()

    @classmethod
    def of_mask(cls, mask: int) -> frozenset["Environment"]:
        return frozenset(env for env in cls if mask & env)


class DeliveryMethod(IntEnum):
    MANUAL_CONFIRMATION = 0
    FIRST_RESPONSE = 1


class SourceStatus(IntEnum):
    """On chain; the change to INACTIVE is one-way."""

    ACTIVE = 0
    INACTIVE = 1


@dataclass(frozen=True, slots=True)
class SourceParams:
    """What `Source.getSourceParams` says, less the reserved fields, plus the status.

    Amounts in wei, `max_expiry_duration` in seconds.
    """

    address: Address
    client: Address
    metadata_url: str
    environments: frozenset[Environment]
    min_payment: Wei
    min_available_lockup: Wei
    max_expiry_duration: int
    delivery: DeliveryMethod
    last_update: int
    status: SourceStatus


@dataclass(frozen=True, slots=True)
class SourceMetadata:
    """The document at `metadata_url`: a compose URL for each environment that is served."""

    name: str
    description: str
    compose_urls: Mapping[Environment, str] = field(default_factory=dict)


class SourceState(StrEnum):
    """Our side of a source.

    WANTED -> READY        its project is up, answers, and we are registered
    WANTED -> UNFIT        it cannot be served here; `code` and `reason` say why, retried later if that may help
    READY  -> WANTED       something changed: params, compose file, project gone
    READY  -> COLD         its project made room while nothing was asked of it; it is served, and comes up for a task
    COLD   -> WANTED       there is a task for it
    any    -> DROPPED      inactive on chain, removed by the operator or by RemoveContainer
    UNFIT with `source.leaving`: the operator removed it, and tasks that were accepted are finished first
    """

    WANTED = "wanted"
    READY = "ready"
    COLD = "cold"
    UNFIT = "unfit"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class ServedSource:
    """One row of our sources. `devices` are the ids that its warm project holds, of each of them `device_memory` bytes;
    0: the whole.
    """

    address: Address
    state: SourceState
    name: str = ""
    environment: Environment | None = None
    registered: bool = False
    params: SourceParams | None = None
    compose_sha256: str = ""
    devices: tuple[str, ...] = ()
    code: str = ""
    reason: str = ""
    updated_at: float = 0.0
    device_memory: int = 0
