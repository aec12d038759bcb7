"""`ogpu-provider top`: devices, sources, tasks and wallet, live."""

import asyncio
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from ogpu_provider.cli import journal
from ogpu_provider.cli.live import report
from ogpu_provider.cli.options import ConfigFile
from ogpu_provider.cli.screen import amount, printable
from ogpu_provider.cli.sources import standing
from ogpu_provider.domain.errors import ConfigError, ControlError, ProviderError
from ogpu_provider.domain.units import short

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

LISTED = 20
"""Rows of tasks; the rest is counted."""
WIDTH = 220
"""Columns where nobody says how many there are."""
GIB = 1 << 30


async def top(
    *,
    interval: Annotated[float, Parameter(help="Seconds between two looks.")] = 1.0,
    once: Annotated[bool, Parameter(negative="", show_default=False, help="Look once, print, and end.")] = False,
    config: ConfigFile = None,
) -> int:
    """Show devices, sources, tasks and wallet of the running daemon until Ctrl-C; once where there is no terminal."""
    from rich.console import Console

    if not 0.1 <= interval <= 3600:
        raise ConfigError("--interval is between 0.1 and 3600 seconds", code="usage.interval", remedy="try 1")
    live = sys.stdout.isatty() and not once
    console = Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else WIDTH)
    if not live:
        console.print(screen(await _look(config)))
        return 0
    from ogpu_provider.cli.foreground import until_stopped

    await until_stopped(_follow(console, interval, config))
    return 0


async def _look(config: Path | None) -> dict[str, Any]:
    async with journal.opened(config) as reader:
        found = await report(reader)
    if not found["running"]:
        raise ControlError(
            found["diagnosis"]["problems"][0]["text"],
            code="control.no_daemon",
            remedy="`ogpu-provider status` tells what the journal knows",
        )
    return found


async def _follow(console: Any, interval: float, config: Path | None) -> None:
    """A daemon that ends meanwhile is waited for; settings and journal that cannot be read end it."""
    from rich.live import Live
    from rich.text import Text

    found = await _look(config)
    with Live(screen(found), console=console, screen=True, auto_refresh=False) as live:
        while True:
            await asyncio.sleep(interval)
            try:
                live.update(screen(await _look(config)), refresh=True)
            except ProviderError as error:
                live.update(Text(printable(f"{error} [{error.code}]")), refresh=True)


def screen(found: dict[str, Any]) -> "Group":
    """All that is shown, from the document of `report`."""
    from rich.console import Group

    return Group(_head(found), _devices(found), _sources(found), _tasks(found))


def _head(found: dict[str, Any]) -> "Table":
    from rich.table import Table
    from rich.text import Text

    diagnosis, account, head = found["diagnosis"], found["account"], found["head"]
    color = {"earning": "green", "ready": "cyan", "not_earning": "red"}[diagnosis["state"]]
    grid = Table.grid(padding=(0, 2))
    grid.add_row(Text(printable(diagnosis["headline"]), style=f"bold {color}"))
    block = f"block {head['block']}, {head['age_s']:.0f} s old" if head else "no block yet"
    wallet = f"wallet {amount(account['balance_wei'])}" if account else "wallet not read yet"
    recent = found["recent"]
    earned = f"24 h: {recent['settled']} paid, {amount(recent['paid_wei'])} earned, {amount(recent['fees_wei'])} gas"
    grid.add_row(
        Text(printable(f"{short(found['provider'] or '')} on {found['network']}   {block}   {wallet}   {earned}"))
    )
    open_rows = found["open_transactions"]
    if open_rows:
        grid.add_row(Text(f"{len(open_rows)} transactions on the way: {_kinds(row['effect'] for row in open_rows)}"))
    return grid


def _devices(found: dict[str, Any]) -> "Table":
    capacity = found["capacity"]
    names = {source["address"]: source["name"] for source in found["sources"]}
    rows = [
        (
            device["id"],
            device["name"],
            f"{device['memory_used_bytes'] / GIB:.1f} of {device['memory_bytes'] / GIB:.1f} GiB",
            names.get(device["held_by"]) or device["held_by"] or "free",
            "; ".join(f"{reason['code']}: {reason['text']}" for reason in device["withheld"]),
        )
        for device in capacity["devices"]
    ]
    rows += [(device, "", "", "", "not on the host any more") for device in capacity["devices_missing"]]
    title = f"devices   task slots: {capacity['slots_used']} of {capacity['slots']} taken"
    return _table(title, ("DEVICE", "NAME", "MEMORY", "HELD BY", "TAKES NO NEW WORK"), rows)


def _sources(found: dict[str, Any]) -> "Table":
    live = [task["source"] for task in found["live"]]
    rows = [
        (
            short(source["address"]),
            source["name"],
            source["state"],
            source["environment"],
            live.count(source["address"]) or "",
            standing(source),
        )
        for source in found["sources"]
    ]
    return _table("sources", ("SOURCE", "NAME", "STATE", "AS", "TASKS", "REASON"), rows)


def _tasks(found: dict[str, Any]) -> "Table":
    now, live = time.time(), found["live"]
    rows = [
        (
            short(task["address"]),
            task["function"],
            task["state"],
            f"{max(0.0, now - task['updated_at']):.0f} s",
            f"{task['expiry'] - now:.0f} s" if task["expiry"] else "",
            task["payment"],
            task["waits"],
        )
        for task in live[-LISTED:]
    ]
    title = "tasks" + (f"   {len(live) - LISTED} more" if len(live) > LISTED else "")
    return _table(title, ("TASK", "FUNCTION", "STATE", "FOR", "EXPIRES IN", "PAYS", "WAITS FOR"), rows)


def _table(title: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", box=None, pad_edge=False, expand=False)
    for name in head:
        table.add_column(name, header_style="bold", overflow="ellipsis", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(printable("" if cell is None else str(cell))) for cell in row))
    return table


def _kinds(words: Iterable[str]) -> str:
    listed = list(words)
    return ", ".join(f"{listed.count(word)} {word}" for word in dict.fromkeys(listed))
