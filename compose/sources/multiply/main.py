"""Sample source: the smallest handlers that exercise a provider. Pure CPU, no downloads, no state."""

import time
from typing import Any

from ogpu.service import expose, start
from pydantic import BaseModel, Field


class MultiplyInput(BaseModel):
    a: int
    b: int


class MultiplyOutput(BaseModel):
    result: int


class EchoInput(BaseModel):
    value: Any


class EchoOutput(BaseModel):
    value: Any


class SleepInput(BaseModel):
    seconds: float = Field(ge=0, le=3600)


class SleepOutput(BaseModel):
    slept: float


class FailInput(BaseModel):
    message: str = "asked to fail"


class FailOutput(BaseModel):
    """Never sent: a handler that raises makes no callback."""


@expose()
def multiply(data: MultiplyInput) -> MultiplyOutput:
    return MultiplyOutput(result=data.a * data.b)


@expose()
def echo(data: EchoInput) -> EchoOutput:
    """Give the value back as it came."""
    return EchoOutput(value=data.value)


@expose()
def sleep(data: SleepInput) -> SleepOutput:
    """Take a known time, in seconds."""
    time.sleep(data.seconds)
    return SleepOutput(slept=data.seconds)


@expose()
def fail(data: FailInput) -> FailOutput:
    """Raise: the framework logs it, and the provider hears nothing."""
    raise RuntimeError(data.message)


if __name__ == "__main__":
    start()
