"""Bodies of the API, as users write and read them."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from ogpu_provider.domain.order import Model, Order, OrderEvent
from ogpu_provider.domain.units import coin


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Requirements(Body):
    gpu_memory: str = Field("0GB", pattern=r"^\d{1,4} ?(MB|GB)$", examples=["8GB"])
    max_execution_time: int = Field(300, ge=1, le=86_400, description="Seconds.", examples=[300])


class NewTask(Body):
    model_id: str = Field(min_length=1, max_length=100, examples=["multiply"])
    input_data: dict[str, Any] = Field(examples=[{"a": 6, "b": 7}])
    compute_requirements: Requirements


class NewBatch(Body):
    tasks: list[Any] = Field(min_length=1, max_length=100, description="Bodies as for one task.")


def model_document(model: Model, currency: str) -> dict[str, Any]:
    price = {"amount": coin(model.price), "currency": currency}
    return {
        "model_id": model.id,
        "description": model.description,
        "source": model.source,
        "function": model.function,
        "price": price,
    }


def task_document(order: Order, currency: str) -> dict[str, Any]:
    """Times in unix seconds, amounts in coin."""
    return {
        "task_id": order.id,
        "status": order.state,
        "model_id": order.model_id,
        "created_at": order.created_at,
        "updated_at": order.updated_at,
        "estimated_completion": order.created_at + order.max_seconds,
        "cost_estimate": {"amount": coin(order.payment), "currency": currency},
        "compute_requirements": {"gpu_memory": order.gpu_memory, "max_execution_time": order.max_seconds},
        "expires_at": order.expiry,
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
    }


def event_document(event: OrderEvent) -> dict[str, Any]:
    return {"seq": event.seq, "at": event.at, "event": event.kind, **event.detail}
