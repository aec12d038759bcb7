"""What a user of the gateway orders: a task of ours as a client, from the request to the fetched result.

    CREATED ──attempted──▶ ASSIGNED ──running──▶ EXECUTING ──confirmed, result fetched──▶ COMPLETED
       └──▶ CANCELLED          any of the three ──▶ FAILED(code): not published, expired, or no fetchable result

An order is CREATED once it is durable; `address` is set when its task is on chain. A response that waits for the
client's confirmation leaves it EXECUTING. Where the chain undoes what one of these rests on, also an end, the order
goes back to what is left (`gateway/follower.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ogpu_provider.domain.units import Address, Wei


class OrderState(StrEnum):
    CREATED = "CREATED"
    ASSIGNED = "ASSIGNED"
    EXECUTING = "EXECUTING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def over(self) -> bool:
        return self in (OrderState.COMPLETED, OrderState.FAILED, OrderState.CANCELLED)


@dataclass(frozen=True, slots=True)
class Order:
    """One row. `payment` in wei, `expiry` in unix seconds, `owner` is the API key that made it.

    `pinned`: its config is published, so that its transaction may be sent. `callback_url`: who is told of its steps.
    `user_address`: the wallet that its owner signed in with.
    """

    id: str
    owner: str
    model_id: str
    source: Address
    state: OrderState
    payment: Wei
    expiry: int
    max_seconds: int
    gpu_memory: str
    config_url: str
    created_at: float
    updated_at: float
    callback_url: str = ""
    user_address: str = ""
    pinned: bool = False
    address: Address | None = None
    provider: Address | None = None
    response: Address | None = None
    result_url: str = ""
    refunded: bool = False
    code: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class OrderEvent:
    """One line of an order's history; `seq` orders the lines of all of them, for followers of the journal."""

    seq: int
    order: str
    owner: str
    at: float
    kind: str
    detail: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Model:
    """What a model id stands for. `price` in wei a task, `environments` (cpu, nvidia, amd) for people to know.

    `auto_confirm`: of a manual-confirmation source, the first response with a readable result is accepted at once.
    """

    id: str
    source: Address
    function: str
    price: Wei
    description: str = ""
    auto_confirm: bool = False
    environments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is kept: nobody can get the key back from it. `day_budget` in wei within a UTC day, None for none.

    `address`: the wallet that a sign-in proved. `secrets`: what webhooks are signed with, the newest first.
    """

    id: str
    name: str
    digest: str
    tier: str
    scopes: tuple[str, ...]
    day_budget: Wei | None
    created_at: float
    revoked_at: float | None = None
    address: str = ""
    secrets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Quota:
    """Orders within an hour, orders that are not over, batches within an hour."""

    hourly: int
    concurrent: int
    batches: int
