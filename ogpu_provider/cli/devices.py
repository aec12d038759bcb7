"""`ogpu-provider devices`: the host's GPUs, how they are, who is on them, and which are out of use."""

import asyncio
import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import cyclopts
from cyclopts import Parameter

from ogpu_provider.cli import journal
from ogpu_provider.cli.live import daemon_of
from ogpu_provider.cli.options import AsJson, ConfigFile
from ogpu_provider.cli.screen import at, document, printable, table
from ogpu_provider.domain.errors import ControlError

if TYPE_CHECKING:
    from ogpu_provider.scheduler.comparison import Row

GIB = 1 << 30
TOOL_S = 30.0

app = cyclopts.App(name="devices", help="The host's GPUs: how they are, who is on them, which are out of use.")

Card = Annotated[str, Parameter(help="Id of the card, as `devices` shows it.")]
Compare = Annotated[
    bool, Parameter(negative="", show_default=False, help="Hold our reading against nvidia-smi, field by field.")
]
Why = Annotated[str, Parameter(help="Why, for whoever looks later.")]


@app.command(name="list")
@app.default
async def devices(*, compare: Compare = False, json: AsJson = False, config: ConfigFile = None) -> int:
    """List the devices with their instruments, and the cards that are cordoned. Exit code 1 if --compare finds a
    difference.
    """
    if compare:
        return await _compare(json)
    found = await _look(config)
    if json:
        document(found)
    else:
        _show(found)
    return 0


@app.command
async def cordon(card: Card, *, reason: Why = "", json: AsJson = False, config: ConfigFile = None) -> None:
    """Take a card out of use: what runs on it goes on, nothing new begins, until `devices uncordon`."""
    answer = await daemon_of(config).ask("devices.cordon", card=card, reason=reason)
    if json:
        document(answer)
        return
    print(printable(f"{answer['card']} takes no new work ({answer['code']}: {answer['reason']})"))


@app.command
async def uncordon(card: Card, *, json: AsJson = False, config: ConfigFile = None) -> None:
    """Give a cordoned card back. What lasts (heat, missing lanes) is not held against it until it was over once."""
    answer = await daemon_of(config).ask("devices.uncordon", card=card)
    if json:
        document(answer)
        return
    print(printable(f"{answer['card']} takes work again"))


async def _look(config: Path | None) -> dict[str, Any]:
    """What the daemon sees; what this command sees where none runs. Cordons are the journal's then."""
    try:
        answer: dict[str, Any] = await daemon_of(config).ask("devices")
        return answer | {"running": True}
    except ControlError as error:
        if error.code != "control.no_daemon":
            raise
    from ogpu_provider import policies
    from ogpu_provider.control.devices import devices_document
    from ogpu_provider.domain.clock import SystemClock
    from ogpu_provider.scheduler.inventory import Inventory, local_probes

    settings = journal.read_settings(config)
    probes = local_probes(SystemClock())
    try:
        inventory = Inventory(policies.cpu_slots(settings), [probe.read for probe in probes])
        await inventory.refresh()
    finally:
        for probe in probes:
            await probe.aclose()
    async with journal.if_any(settings) as reader:
        cordons = await reader.cordons() if reader else []
    found = devices_document(time.time(), inventory.host, inventory.found, inventory.problems, cordons)
    return found | {"running": False, "looked": True}


def _show(found: dict[str, Any]) -> None:
    parts = [f"{found['cpus']:g} processors"] if found["cpus"] else []
    parts += [f"{found['memory_bytes'] / GIB:.1f} GiB of memory"] if found["memory_bytes"] else []
    used = "" if found["slots_used"] is None else f"{found['slots_used']} of "
    print(", ".join([*parts, f"{used}{found['slots']} task slots{' taken' if used else ''}"]))
    if not found["running"]:
        print("the daemon does not run: leases and foreign programs are not known")
    if found["devices"]:
        print()
        table(
            ("DEVICE", "NAME", "MEMORY", "USE", "TEMP", "POWER", "PCIE", "HELD BY", "STATE"),
            [_line(device) for device in found["devices"]],
        )
    for missing in found["missing"]:
        print(printable(f"{missing} is held, and not on this host any more"))
    for one in found["cordons"]:
        outlook = f"; {one['outlook']}" if one["outlook"] else ""
        print(printable(f"! {one['card']} ({one['name']}) is cordoned since {at(one['at'])}"))
        print(printable(f"    {one['code']}: {one['reason']}{outlook}"))
    for problem in found["problems"]:
        print(printable(f"- {problem['code']}: {problem['text']}"))
    if not found["looked"]:
        print("the devices have not been read yet: the driver has not answered since the daemon's start")
    elif not found["devices"] and not found["problems"]:
        print("no GPU")


def _line(device: dict[str, Any]) -> tuple[object, ...]:
    gauges = device["gauges"]
    lanes = f"{gauges['pcie_width']} of {gauges['pcie_width_max']}" if gauges.get("pcie_width_max") else None
    return (
        device["id"],
        device["name"],
        f"{device['memory_used_bytes'] / GIB:.1f} of {device['memory_bytes'] / GIB:.1f} GiB",
        _unit(gauges.get("utilisation"), "%"),
        _unit(gauges.get("temperature"), "°C"),
        _unit(gauges.get("power"), "W"),
        lanes,
        ", ".join(device["held_by"]) or "free",
        "; ".join(f"{one['code']}: {one['text']}" for one in device["withheld"]) or "good",
    )


def _unit(value: float | None, unit: str) -> str | None:
    return None if value is None else f"{value:.0f} {unit}"


async def _compare(json: bool) -> int:
    from ogpu_provider.domain.clock import SystemClock
    from ogpu_provider.scheduler.comparison import COMMAND, compare, disagreements
    from ogpu_provider.scheduler.probe import Probe

    probe = Probe("nvidia", SystemClock())
    try:
        await probe.read()  # the first one starts the process
        began = time.monotonic()
        before = await probe.read()
        took = time.monotonic() - began
        output = await _tool(*COMMAND)
        after = await probe.read()
    finally:
        await probe.aclose()
    rows, problems = compare(before, after, output), [*before.problems, *after.problems]
    wrong = disagreements(rows)
    if json:
        shown = [
            {"card": r.card, "field": r.field, "ours": r.ours, "theirs": r.theirs, "is": r.agreement} for r in rows
        ]
        document({"fields": shown, "differ": len(wrong), "reading_s": took, "problems": [p.text for p in problems]})
    else:
        _show_rows(rows)
        for problem in dict.fromkeys(problem.text for problem in problems):
            print(printable(f"- {problem}"))
        print(f"{len(rows)} fields, {len(wrong)} differ; one reading took {1000 * took:.0f} ms")
    return 1 if wrong else 0


def _show_rows(rows: "list[Row]") -> None:
    table(("CARD", "FIELD", "HERE", "NVIDIA-SMI", ""), [(r.card, r.field, r.ours, r.theirs, r.agreement) for r in rows])


async def _tool(*words: str) -> str:
    """What a program writes. Raises ComparisonImpossible if it is not there, fails, or does not end."""
    from ogpu_provider.scheduler.comparison import ComparisonImpossible

    try:
        process = await asyncio.create_subprocess_exec(
            *words, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
    except OSError as error:
        raise ComparisonImpossible(
            f"there is no {words[0]} here: {error}", remedy="install it with the driver"
        ) from None
    try:
        async with asyncio.timeout(TOOL_S):
            output, _ = await process.communicate()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        raise ComparisonImpossible(f"{words[0]} did not end within {TOOL_S:g} s") from None
    text = output.decode(errors="replace")
    if process.returncode:
        raise ComparisonImpossible(f"{words[0]} failed: {text.strip()[:300]}")
    return text
