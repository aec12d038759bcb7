"""`ogpu-provider service`: the daemon as a service of systemd."""

import sys
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated

import cyclopts
from cyclopts import Parameter

from ogpu_provider.cli.options import AsJson
from ogpu_provider.cli.screen import document, printable
from ogpu_provider.domain.errors import ConfigError, EngineError

if TYPE_CHECKING:
    from ogpu_provider.service.installation import Report

app = cyclopts.App(name="service", help="The daemon as a service of systemd.")

CALLBACK_PORT = 20755
USUAL_GATEWAY = "172.17.0.1"
DryRun = Annotated[bool, Parameter(negative="", show_default=False, help="Show what would be done, and do nothing.")]
Root = Annotated[Path, Parameter(help="Root of the system's tree; for another one than this, nothing is started.")]


@app.command
async def install(
    *,
    user: Annotated[str, Parameter(help="The service's own user; made if it is not there.")] = "ogpu",
    callback: Annotated[
        str, Parameter(help="ADDRESS:PORT for containers' results; default: the engine's bridge.")
    ] = "",
    program: Annotated[Path | None, Parameter(help="Path of ogpu-provider; default: this one.")] = None,
    root: Root = Path("/"),
    dry_run: DryRun = False,
    json: AsJson = False,
) -> None:
    """Write a confined service unit, a socket unit that keeps results during restarts, and a user; start them.

    Running it again brings the units up to date. Settings that are there stay as they are.
    """
    from ogpu_provider.service import installation
    from ogpu_provider.service.unit import Plan

    if not user.replace("-", "").replace("_", "").isalnum() or not user[0].isalpha() or not user.isascii():
        raise ConfigError(
            f"{printable(user)!r} is no user name",
            code="usage.user",
            remedy="--user: a letter first, then letters, digits, - and _",
        )
    plan = Plan(
        program=PurePosixPath((program or Path(sys.argv[0])).absolute()),
        callback=_address(callback) if callback else (await _gateway(), _remembered(root)),
        user=user,
        groups=installation.groups(root),
    )
    report = await installation.install(plan, root, rehearse=dry_run)
    if json:
        texts = {str(root / file.path): file.text for file in installation.files(plan)} if dry_run else {}
        document({"dry_run": dry_run, **asdict(report), **({"texts": texts} if dry_run else {})})
        return
    if dry_run:
        for file in installation.files(plan):
            print(f"--- {root / file.path}\n{file.text}")
    _say(report, "would write" if dry_run else "wrote", "would run" if dry_run else "ran", dry_run)


@app.command
async def uninstall(*, root: Root = Path("/"), dry_run: DryRun = False, json: AsJson = False) -> None:
    """Stop the service and remove its units. Keys, settings, data and running containers stay."""
    from ogpu_provider.service import installation

    report = await installation.uninstall(root, rehearse=dry_run)
    if json:
        document({"dry_run": dry_run, **asdict(report)})
    else:
        _say(report, "would remove" if dry_run else "removed", "would run" if dry_run else "ran", dry_run)


def _say(report: "Report", wrote: str, ran: str, dry_run: bool) -> None:
    handed = "would hand over" if dry_run else "handed over"
    rows = ((wrote, report.files), (ran, report.commands), ("kept", report.kept), (handed, report.handed))
    for word, lines in (*rows, ("to do:", report.todo)):
        for line in lines:
            print(f"{word} {line}")


def _address(text: str) -> tuple[str, int]:
    import ipaddress

    host, _, port = text.rpartition(":")
    try:
        address, number = ipaddress.ip_address(host.strip("[]")), int(port)
    except ValueError:
        address, number = ipaddress.ip_address("0.0.0.0"), 0  # noqa: S104 - refused below
    if address.is_unspecified or not 0 < number < 65536:
        raise ConfigError(
            f"{printable(text)!r} is no address for results",
            code="usage.callback",
            remedy="ADDRESS:PORT with the address of the engine's bridge, for instance 172.17.0.1:20755",
        )
    return str(address), number


async def _gateway() -> str:
    from ogpu_provider.runtime.engine import Engine

    engine = Engine()
    try:
        return await engine.bridge_gateway()
    except EngineError:
        return USUAL_GATEWAY
    finally:
        await engine.aclose()


def _remembered(root: Path) -> int:
    """Containers that run hold the port they were started with."""
    try:
        return int((root / "var/lib/ogpu-provider/callback.port").read_text())
    except (OSError, ValueError):
        return CALLBACK_PORT
