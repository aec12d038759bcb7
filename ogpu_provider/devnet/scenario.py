"""What the demo shows, and what it expects of each task. Data and pure checks only."""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ogpu_provider.domain.task import TaskState
from ogpu_provider.domain.units import COIN, Wei

Check = Callable[[Any], str]
"""Given the decoded payload of a paid task: what is wrong with it, empty if nothing."""


@dataclass(frozen=True, slots=True)
class Order:
    """One task of the demo. `source` is a key of the demo's sources; `life` is seconds until expiry."""

    source: str
    function: str
    data: Any
    expect: TaskState
    payment: Wei = COIN // 100
    life: float = 300.0
    code: str = ""
    check: Check = field(default=lambda payload: "")


def _equals(expected: Any) -> Check:
    return lambda payload: "" if payload == expected else f"expected {json.dumps(expected)}, got {json.dumps(payload)}"


def _reads(*words: str) -> Check:
    def check(payload: Any) -> str:
        text = "".join(line["text"] for line in payload.get("lines", [])).replace(" ", "")
        missing = [word for word in words if word not in text]
        return f"did not read {missing} in {text!r}" if missing else ""

    return check


def orders(picture: Path) -> list[Order]:
    """Both delivery methods, a task refused with its reason, and a handler that fails."""
    image = base64.b64encode(picture.read_bytes()).decode()
    first, manual, ocr = "multiply", "multiply, confirmed by hand", "ocr"
    return [
        Order(first, "multiply", {"a": 6, "b": 7}, TaskState.SETTLED, check=_equals({"result": 42})),
        Order(ocr, "ocr", {"image": image}, TaskState.SETTLED, check=_reads(*WORDS)),
        Order(manual, "multiply", {"a": 12, "b": 12}, TaskState.SETTLED, check=_equals({"result": 144})),
        Order(
            first,
            "multiply",
            {"a": 1, "b": 1},
            TaskState.DECLINED,
            payment=COIN // 500,
            code="payment.below_floor",
        ),
        Order(first, "fail", {"message": "on purpose"}, TaskState.FAILED, life=20.0, code="execute.no_result"),
    ]


WORDS = ("OpenGPUNetwork", "Invoice2048", "Total17.50EUR")
"""What is written in the OCR sample's picture, without spaces: the model is careless with them."""

FLOOR = "0.005"
"""The demo operator's lowest payment, in coin: above what the refused task offers."""
