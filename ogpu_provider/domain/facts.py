"""What the chain says happened. Decoded from the logs of Nexus and Terminal, whose parameters are not indexed."""

from dataclasses import dataclass
from enum import IntEnum

from ogpu_provider.domain.source import Environment, SourceStatus
from ogpu_provider.domain.units import Address, Hash, Wei


class TaskStatus(IntEnum):
    NEW = 0
    ATTEMPTED = 1
    RESPONDED = 2
    CANCELED = 3
    EXPIRED = 4  # set lazily by the next attempt: a dead task can still read NEW or ATTEMPTED
    FINALIZED = 5

    @property
    def over(self) -> bool:
        return self in (TaskStatus.CANCELED, TaskStatus.EXPIRED, TaskStatus.FINALIZED)


class ResponseStatus(IntEnum):
    SUBMITTED = 0
    CONFIRMED = 1


@dataclass(frozen=True, slots=True)
class Block:
    """A block header. `timestamp` in unix seconds, `base_fee` in wei per gas (None where blocks have none)."""

    number: int
    hash: Hash
    parent_hash: Hash
    timestamp: int
    base_fee: Wei | None = None


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a fact was read; (block_hash, tx_hash, log_index) identifies the log."""

    block_number: int
    block_hash: Hash
    tx_hash: Hash
    log_index: int


@dataclass(frozen=True, slots=True)
class TaskPublished:
    origin: Origin
    task: Address
    source: Address


@dataclass(frozen=True, slots=True)
class Attempted:
    origin: Origin
    task: Address
    provider: Address
    suggested_payment: Wei


@dataclass(frozen=True, slots=True)
class ResponseSubmitted:
    """Says nothing about the provider: it is ours if the transaction is."""

    origin: Origin
    response: Address
    task: Address


@dataclass(frozen=True, slots=True)
class TaskStatusChanged:
    origin: Origin
    task: Address
    status: TaskStatus


@dataclass(frozen=True, slots=True)
class Registered:
    origin: Origin
    provider: Address
    source: Address
    environment: Environment


@dataclass(frozen=True, slots=True)
class SourcePublished:
    origin: Origin
    source: Address


@dataclass(frozen=True, slots=True)
class SourceUpdated:
    origin: Origin
    source: Address


@dataclass(frozen=True, slots=True)
class SourceStatusChanged:
    origin: Origin
    source: Address
    status: SourceStatus


@dataclass(frozen=True, slots=True)
class RemoveContainer:
    """The master's signal to tear down a source's containers; the registration on chain stays."""

    origin: Origin
    provider: Address
    source: Address


@dataclass(frozen=True, slots=True)
class ProviderRemoved:
    """The master broke the pairing."""

    origin: Origin
    provider: Address


Fact = (
    TaskPublished
    | Attempted
    | ResponseSubmitted
    | TaskStatusChanged
    | Registered
    | SourcePublished
    | SourceUpdated
    | SourceStatusChanged
    | RemoveContainer
    | ProviderRemoved
)


@dataclass(frozen=True, slots=True)
class TaskView:
    """A task as the chain has it now. `config_url` leads to `{function_name, data}`; `expiry` in unix seconds."""

    address: Address
    source: Address
    config_url: str
    expiry: int
    payment: Wei
    status: TaskStatus
    attempted_by_us: bool = False
    our_response: Address | None = None
    winner: Address | None = None
