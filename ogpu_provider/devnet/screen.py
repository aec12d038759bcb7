"""What the demo shows people, on standard error: sentences as they happen, a live table on a terminal."""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ogpu_provider.devnet.scenario import Order
from ogpu_provider.domain.intent import IntentRow
from ogpu_provider.domain.source import DeliveryMethod
from ogpu_provider.domain.task import Task, TaskState
from ogpu_provider.domain.units import coin, short

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

ROOM = 110
"""Columns from which the table has transactions and CIDs, too."""
WIDTH = 140
"""Columns where there is no terminal."""


@dataclass(frozen=True, slots=True)
class Published:
    order: Order
    address: str
    source: str
    delivery: DeliveryMethod
    at: float


@dataclass(slots=True)
class Outcome:
    """One line of the demo's table; `problems` says what was not as it should be."""

    published: Published
    task: Task
    attempt: IntentRow | None
    response: IntentRow | None
    seconds: float | None
    problems: list[str]

    def row(self) -> dict[str, Any]:
        task, paid = self.task, self.task.state is TaskState.SETTLED
        return {
            "task": task.address,
            "source": task.source,
            "function": task.function or self.published.order.function,
            "delivery": self.published.delivery.name,
            "state": str(task.state).upper(),
            "reason": f"{task.code}: {task.reason}" if task.code else None,
            "attempt_tx": self.attempt.tx_hash if self.attempt else None,
            "response_tx": self.response.tx_hash if self.response else None,
            "cid": task.cid or None,
            "seconds": self.seconds,
            "payment_wei": task.payment if paid else 0,
        }


class Screen:
    """One of a demo. Where standard error is no terminal, each change of a task is a line."""

    def __init__(self) -> None:
        from rich.console import Console

        self.console = Console(stderr=True, width=None if sys.stderr.isatty() else WIDTH)
        self._live: Live | None = None
        self._told: dict[str, TaskState] = {}

    def say(self, text: str) -> None:
        self.console.print(text, highlight=False, soft_wrap=True)

    @contextmanager
    def following(self) -> Iterator[None]:
        """While tasks are on their way."""
        if not self.console.is_terminal:
            yield
            return
        from rich.live import Live

        with Live(console=self.console, refresh_per_second=8) as self._live:
            yield
        self._live = None

    def progress(self, published: Sequence[Published], rows: Mapping[str, Task | None]) -> None:
        """How far each task is now."""
        if self._live is not None:
            self._live.update(_progress_table(published, rows))
            return
        for task in filter(None, rows.values()):
            if self._told.get(task.address) is not task.state:
                self._told[task.address] = task.state
                self.say(f"{short(task.address)} {task.function or '…'}: {task.state}")

    def table(self, outcomes: Sequence[Outcome]) -> None:
        """The end: who did what for how much, and why not."""
        from rich.table import Table

        table = Table(caption="seconds: from the block of publication to the block of payment, by chain time")
        whole = self.console.width >= ROOM
        for name in ("task", "source", "delivery", "state", "transactions", "CID", "seconds", "earned"):
            if whole or name not in ("transactions", "CID"):
                table.add_column(name, no_wrap=name in ("task", "CID", "transactions", "seconds", "earned"))
        for outcome in outcomes:
            row, order = outcome.row(), outcome.published.order
            sent = [("attempt", row["attempt_tx"]), ("response", row["response_tx"])]
            chained = ("\n".join(f"{name} {short(tx)}" for name, tx in sent if tx) or "-", short(row["cid"] or "-"))
            table.add_row(
                short(row["task"]),
                f"{order.source}\n{order.function}",
                row["delivery"].replace("_", " ").lower(),
                row["state"] + (f"\n{outcome.task.code}" if outcome.task.code else ""),
                *(chained if whole else ()),
                "-" if row["seconds"] is None else f"{row['seconds']:.0f}",
                coin(row["payment_wei"]) if row["payment_wei"] else "-",
            )
        self.console.print(table)
        for outcome in outcomes:
            if outcome.task.reason:
                self.say(f"{short(outcome.task.address)} {outcome.task.state}: {outcome.task.reason}")


def _progress_table(published: Sequence[Published], rows: Mapping[str, Task | None]) -> "Table":
    from rich.table import Table

    table = Table()
    for name in ("task", "source", "function", "state", "seconds"):
        table.add_column(name)
    for one in published:
        task = rows.get(one.address)
        state = task.state if task else "published"
        end = task.updated_at if task and task.state.over else time.time()
        seconds = f"{max(0.0, end - one.at):.0f}"
        table.add_row(short(one.address), one.order.source, one.order.function, str(state), seconds)
    return table
