"""What users' endpoints are told, for the OpenAPI document: these are no routes of ours."""

from typing import Literal

from fastapi import FastAPI

from ogpu_provider.domain.order import OrderState
from ogpu_provider.domain.webhook import KINDS
from ogpu_provider.gateway.documents import Body, Failure

NAMES = tuple(name for names in KINDS.values() for name in names)


class ToldChain(Body):
    task: str | None
    provider: str | None
    response: str | None


class ToldTask(Body):
    task_id: str
    status: OrderState
    model_id: str
    user_address: str | None
    error: Failure | None
    results: str | None
    chain: ToldChain


class Told(Body):
    """Signed by Standard Webhooks 1.0: `webhook-id`, `webhook-timestamp` and `webhook-signature`."""

    type: Literal[NAMES]  # type: ignore[valid-type]
    timestamp: str
    data: ToldTask


def add(app: FastAPI) -> None:
    """Any 2xx takes it, 410 takes nothing any more."""
    for name in NAMES:
        app.webhooks.add_api_route(name, _taken, methods=["POST"], summary=name, operation_id=name, tags=["webhooks"])


async def _taken(told: Told) -> None:
    """Told at least once, in whatever order; `webhook-id` is the same each time."""
