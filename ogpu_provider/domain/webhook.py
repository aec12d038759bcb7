"""What is told to the endpoint that an order names, by Standard Webhooks 1.0.

A delivery is made in the transaction that moves the order, and told at least once: its id is the same each time.

    PENDING ──2xx──▶ DELIVERED
       └──no answer, another status: again by RETRY_S──▶ FAILED after the last one, or where the endpoint is disabled
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from ogpu_provider.domain.order import Order

RETRY_S = (0, 5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Seconds before each try, counted from the one before it (Standard Webhooks, section "Retry schedule")."""
KINDS: Mapping[str, tuple[str, ...]] = {
    "assigned": ("task.assigned",),
    "started": ("task.started",),
    "completed": ("task.completed", "task.results_available"),
    "failed": ("task.failed",),
    "cancelled": ("task.cancelled",),
    "reopened": ("task.reopened",),
}
"""Which lines of an order's history are told, and as what."""


class DeliveryState(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One row. `body` is what is signed and sent, each time the same bytes; `next_at` in unix seconds.

    `answer`: what came of the last try, in a word or two.
    """

    id: str
    owner: str
    order: str
    url: str
    kind: str
    body: bytes
    made_at: float
    next_at: float
    tries: int = 0
    state: DeliveryState = DeliveryState.PENDING
    answer: str = ""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where one owner's orders are told of. `disabled`: why nothing is sent there any more, empty where it is."""

    owner: str
    url: str
    pending: int
    delivered: int
    failed: int
    disabled: str


def payload(kind: str, order: Order) -> dict[str, Any]:
    """A thin body: what happened, and what to ask the API for. Below 20 kB whatever the order."""
    return {
        "type": kind,
        "timestamp": datetime.fromtimestamp(order.updated_at, UTC).isoformat(timespec="milliseconds"),
        "data": {
            "task_id": order.id,
            "status": order.state,
            "model_id": order.model_id,
            "user_address": order.user_address or None,
            "error": {"code": order.code, "detail": order.reason[:500]} if order.code else None,
            "results": f"/api/tasks/{order.id}/results" if order.state == "COMPLETED" else None,
            "chain": {"task": order.address, "provider": order.provider, "response": order.response},
        },
    }
