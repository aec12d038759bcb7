"""Bodies of the API, as users write and read them. Times in unix seconds, amounts in coin.

The models are checked on what users send. What is answered is made from rows of ours as the models describe it, and
not checked again with every answer: a test holds one against the other.
"""

import json
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ogpu_provider.domain.order import Model, Order, OrderEvent, OrderState
from ogpu_provider.domain.units import coin
from ogpu_provider.store.order_reader import SMALL, WholeOrder

Shown = dict[str, Any]
LOG_LINES = 100
"""Of a container's log that are shown with its task."""
EXAMPLE: dict[str, Any] = {
    "model_id": "multiply",
    "input_data": {"a": 6, "b": 7},
    "compute_requirements": {"gpu_memory": "8GB", "max_execution_time": 300},
}


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Requirements(Body):
    gpu_memory: str = Field("0GB", pattern=r"^\d{1,4} ?(MB|GB)$", examples=["8GB"])
    max_execution_time: int = Field(300, ge=1, le=86_400, description="Seconds.", examples=[300])


class NewTask(Body):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [EXAMPLE]})

    model_id: str = Field(min_length=1, max_length=100)
    input_data: dict[str, Any] = Field(description="What the model's function is called with.")
    compute_requirements: Requirements
    callback_url: str | None = Field(
        None, max_length=2048, description="Told of the task's steps, signed by Standard Webhooks 1.0."
    )


class NewBatch(Body):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"tasks": [EXAMPLE, EXAMPLE]}]})

    tasks: list[Any] = Field(min_length=1, max_length=100, description="Bodies as for one task.")


class Money(Body):
    amount: str = Field(description="In coin, without rounding.", examples=["0.01"])
    currency: str


class ModelDocument(Body):
    model_id: str
    description: str
    source: str
    function: str
    environments: list[Literal["cpu", "nvidia", "amd"]]
    price: Money


class ModelList(Body):
    models: list[ModelDocument]


class Transaction(Body):
    effect: str = Field(examples=["publishTask"])
    hash: str | None
    state: str
    block: int | None


class Chain(Body):
    task: str | None
    source: str
    provider: str | None
    response: str | None
    config_url: str
    result_url: str | None


class Failure(Body):
    code: str
    detail: str


class TaskDocument(Body):
    task_id: str
    status: OrderState
    model_id: str
    user_address: str | None
    created_at: float
    updated_at: float
    estimated_completion: float
    cost_estimate: Money
    compute_requirements: Requirements
    expires_at: int
    awaits_confirmation: bool
    refunded: bool
    error: Failure | None
    chain: Chain
    links: dict[str, str]


class Event(BaseModel):
    """A line of history: what it is about stands beside these three."""

    model_config = ConfigDict(extra="allow")

    seq: int
    at: float
    event: str


class ExecutionLogs(Body):
    origin: Literal["container", "chain"] = Field(description="The local provider's container, or the timeline.")
    lines: list[str] = Field(description=f"The container's last {LOG_LINES}; of another provider's there are none.")
    all: str = Field(description="Where all of them are.")


class WholeTask(TaskDocument):
    results: Any = Field(None, description="The result where it is JSON below 64 KiB; else at links.results.")
    timeline: list[Event]
    transactions: list[Transaction]
    execution_logs: ExecutionLogs


class TaskPage(Body):
    tasks: list[TaskDocument]
    page: int
    limit: int
    total: int


class Item(Body):
    """One of a batch, in the order asked: the task, or why not."""

    status: int
    task: TaskDocument | None = None
    code: str | None = None
    detail: str | None = None


class BatchDocument(Body):
    results: list[Item]


class Logs(Body):
    origin: Literal["container", "chain"] = Field(description="The local provider's container, or the timeline.")
    lines: list[Any]


def model_document(model: Model, currency: str) -> Shown:
    return {
        "model_id": model.id,
        "description": model.description,
        "source": model.source,
        "function": model.function,
        "environments": list(model.environments),
        "price": {"amount": coin(model.price), "currency": currency},
    }


def task_document(order: Order, currency: str) -> Shown:
    place = f"/api/tasks/{order.id}"
    links = {"self": place, "events": place + "/events", "logs": place + "/logs"}
    if order.result_url:
        links["results"] = place + "/results"
    if order.state is OrderState.CREATED:
        links["cancel"] = place + "/cancel"
    if order.response is not None and not order.state.over:
        links["confirm"] = place + "/confirm"
    return {
        "task_id": order.id,
        "status": order.state,
        "model_id": order.model_id,
        "user_address": order.user_address or None,
        "created_at": order.created_at,
        "updated_at": order.updated_at,
        "estimated_completion": order.created_at + order.max_seconds,
        "cost_estimate": {"amount": coin(order.payment), "currency": currency},
        "compute_requirements": {"gpu_memory": order.gpu_memory, "max_execution_time": order.max_seconds},
        "expires_at": order.expiry,
        "awaits_confirmation": order.response is not None and not order.state.over,
        "refunded": order.refunded,
        "error": {"code": order.code, "detail": order.reason} if order.code else None,
        "chain": {
            "task": order.address,
            "source": order.source,
            "provider": order.provider,
            "response": order.response,
            "config_url": order.config_url,
            "result_url": order.result_url or None,
        },
        "links": links,
    }


def whole_task(whole: WholeOrder, currency: str, printed: Sequence[str] | None = None) -> Shown:
    """`printed`: the container's log by line, None where the local provider did not run it."""
    order, result = whole.order, whole.result
    return task_document(order, currency) | {
        "results": _inline(result) if result is not None and order.state is OrderState.COMPLETED else None,
        "timeline": [event_document(one) for one in whole.history],
        "transactions": [
            {"effect": row.intent.effect, "hash": row.tx_hash, "state": row.state, "block": row.block_number}
            for row in whole.sent
        ],
        "execution_logs": {
            "origin": "chain" if printed is None else "container",
            "lines": list(printed or ())[-LOG_LINES:],
            "all": f"/api/tasks/{order.id}/logs",
        },
    }


def _inline(result: bytes) -> Any:
    """None for one that is large, or has numbers that JSON has not: NaN stands in results of careless writers."""
    try:
        return json.loads(result, parse_constant=_refuse) if len(result) <= SMALL else None
    except ValueError:
        return None


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def event_document(event: OrderEvent) -> Shown:
    return {"seq": event.seq, "at": event.at, "event": event.kind, **event.detail}
