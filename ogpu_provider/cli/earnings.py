"""`ogpu-provider earnings`: what came in and what it cost."""

import csv as csv_format
import sys
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from ogpu_provider.cli import journal
from ogpu_provider.cli.options import AsJson, ConfigFile
from ogpu_provider.cli.screen import document, table
from ogpu_provider.cli.since import begin
from ogpu_provider.domain.earnings import Total, totals, whole
from ogpu_provider.domain.errors import ConfigError
from ogpu_provider.domain.units import coin

COLUMNS = ("tasks", "paid_wei", "paid", "transactions", "gas_wei", "gas", "net_wei", "net")


async def earnings(
    *,
    by: Annotated[
        Literal["day", "source", "environment"], Parameter(help="What to add up by. Days are UTC's.")
    ] = "day",
    since: Annotated[str, Parameter(help="A day (2026-01-31, UTC) or a span back from now (12h, 30d, 4w).")] = "30d",
    csv: Annotated[bool, Parameter(negative="", show_default=False, help="Write comma-separated values.")] = False,
    json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Show settled payments, the gas of all transactions, and what is left.

    A payment goes to the master's account in the Vault, gas is paid from the provider's. Both count from when they
    were final. Amounts in coin; those named `_wei` are integers in wei.
    """
    if csv and json:
        raise ConfigError("--csv and --json exclude each other", code="usage", remedy="choose one")
    start = begin(since)
    async with journal.opened(config) as reader:
        entries = await reader.entries(start)
    rows, total = totals(entries, by), whole(entries)
    if json:
        shown = [{by: row.key, **_figures(row)} for row in rows]
        document({"since": start, "by": by, "rows": shown, "total": _figures(total)})
    elif csv:
        writer = csv_format.writer(sys.stdout, lineterminator="\n")
        writer.writerow((by, *COLUMNS))
        writer.writerows((row.key, *_figures(row).values()) for row in rows)
    else:
        _show(by, [*rows, total])


def _show(by: str, rows: Sequence[Total]) -> None:
    cells = [(row.key, row.tasks, coin(row.paid), row.transactions, coin(row.fees), coin(row.net)) for row in rows]
    table((by.upper(), "TASKS PAID", "PAID", "TRANSACTIONS", "GAS", "NET"), cells)


def _figures(row: Total) -> dict[str, Any]:
    figures = (
        *(row.tasks, row.paid, coin(row.paid)),
        *(row.transactions, row.fees, coin(row.fees), row.net, coin(row.net)),
    )
    return dict(zip(COLUMNS, figures, strict=True))
