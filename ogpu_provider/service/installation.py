"""Puts the units in place and takes them away again. Keys, settings and data are never touched by either.

`root` is `/`, or the directory of another system's tree, where nothing is started.
"""

import asyncio
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ogpu_provider.domain.errors import ConfigError
from ogpu_provider.service import handover, unit

SYSTEM = Path("/")
UNITS = Path("etc/systemd/system")
SYSUSERS = Path("etc/sysusers.d") / f"{unit.NAME}.conf"
COMMAND_TIMEOUT_S = 120.0
HOMES = ("home", "root", "run/user")
"""ProtectHome hides these from the service."""


@dataclass(frozen=True, slots=True)
class File:
    path: Path
    text: str
    mode: int = 0o644
    keep: bool = False
    """An operator's file: written once, never again."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was done (or would be, in a rehearsal), in order; what was left alone; what a person still has to do."""

    files: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    handed: list[str] = field(default_factory=list)
    """Written by root before, and the service's now."""
    commands: list[str] = field(default_factory=list)
    todo: list[str] = field(default_factory=list)


def files(plan: unit.Plan) -> tuple[File, ...]:
    """Paths are relative to the root."""
    return (
        File(SYSUSERS, unit.users(plan)),
        File(UNITS / f"{unit.NAME}.service", unit.service(plan)),
        File(UNITS / f"{unit.NAME}.socket", unit.socket(plan)),
        File(plan.settings.relative_to("/"), unit.settings(plan), 0o640, keep=True),  # type: ignore[arg-type]
    )


def groups(root: Path, wanted: Sequence[str] = ("docker", "video", "render")) -> tuple[str, ...]:
    """Those of `wanted` that the system has. Raises ConfigError (`service.no_docker_group`) without docker."""
    try:
        lines = (root / "etc/group").read_text().splitlines()
    except OSError:
        lines = []
    there = {line.partition(":")[0] for line in lines}
    if "docker" in wanted and "docker" not in there:
        raise ConfigError(
            "there is no group docker on this system",
            code="service.no_docker_group",
            remedy="install Docker Engine first; its package makes the group",
        )
    return tuple(name for name in wanted if name in there)


async def install(plan: unit.Plan, root: Path = SYSTEM, *, rehearse: bool = False) -> Report:
    """Write users, units and first settings; hand over what root wrote; start the service when it can work.

    Again: brings the units up to date.

    Raises ConfigError: `service.program` for a program that the service could not see, `service.foreign_file` for a
    file in our place that is not ours, `service.not_root`, `service.not_handed_over`, `service.command`.
    """
    _check_program(plan, root)
    report = Report()
    for file in files(plan):
        path = root / file.path
        if file.keep and path.exists():
            report.kept.append(str(path))
            continue
        if not file.keep:
            _refuse_foreign(path)
        report.files.append(str(path))
        if not rehearse:
            _write(path, file)
    password = root / plan.password.relative_to("/")
    there = password.exists()
    if not there:
        report.todo.append(f"put the keystore's password into {password} (owner root, mode 0600)")
    keystore = root / plan.data_dir.relative_to("/") / "keystore.json"
    if not keystore.exists():
        report.todo.append(f"make the key: {plan.program} register --config {plan.settings} --password-file {password}")
    start = there and keystore.exists()
    await _run_all([["systemd-sysusers", f"{unit.NAME}.conf"]], root, rehearse, report)
    _hand_over(plan, root, rehearse, report)
    await _run_all(_starting(start), root, rehearse, report)
    if not start:
        report.todo.append("then `service install` again: it hands over what root wrote, and starts the service")
    return report


async def uninstall(root: Path = SYSTEM, *, rehearse: bool = False) -> Report:
    """Stop the service and remove its units. Settings, keystore, journal and user stay; containers stay up."""
    report = Report()
    ours = [root / UNITS / f"{unit.NAME}.{kind}" for kind in ("service", "socket")] + [root / SYSUSERS]
    present = [path for path in ours if path.exists()]
    for path in present:
        _refuse_foreign(path)
    if present:
        names = [f"{unit.NAME}.service", f"{unit.NAME}.socket"]
        await _run_all([["systemctl", "disable", "--now", *names]], root, rehearse, report)
    for path in present:
        report.files.append(str(path))
        if not rehearse:
            path.unlink()
    if present:
        await _run_all([["systemctl", "daemon-reload"]], root, rehearse, report)
    left = (root / "etc" / unit.NAME, root / "var/lib" / unit.NAME)
    report.kept.extend(str(path) for path in left if path.exists())
    return report


def _hand_over(plan: unit.Plan, root: Path, rehearse: bool, report: Report) -> None:
    owner = handover.owner_of(plan.user, root)
    if owner is not None:
        try:
            report.handed.extend(handover.hand_over(plan, root, owner, rehearse=rehearse))
        except OSError as error:
            raise ConfigError(
                f"{error.filename or plan.settings} cannot be given to {plan.user}: {error.strerror}",
                code="service.not_handed_over",
                remedy="run as root; a link in its place is not followed",
            ) from None


def _starting(start: bool) -> Iterator[list[str]]:
    yield ["systemctl", "daemon-reload"]
    yield ["systemctl", "enable", f"{unit.NAME}.socket", f"{unit.NAME}.service"]
    if start:
        yield ["systemctl", "restart", f"{unit.NAME}.socket", f"{unit.NAME}.service"]


async def _run_all(commands: Iterator[list[str]] | list[list[str]], root: Path, rehearse: bool, report: Report) -> None:
    """Of another system's tree nothing is started: its commands are for later."""
    for command in commands:
        if root != SYSTEM:
            report.todo.append("on that system: " + " ".join(command))
            continue
        report.commands.append(" ".join(command))
        if not rehearse:
            await _run(command)


async def _run(command: list[str]) -> None:
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(COMMAND_TIMEOUT_S):
            output, _ = await process.communicate()
    except FileNotFoundError:
        raise ConfigError(
            f"{command[0]} is not here: this system does not run systemd",
            code="service.command",
            remedy="run `ogpu-provider run` under the service manager of this system, or in its container",
        ) from None
    except TimeoutError:
        process.kill()
        await process.wait()
        raise ConfigError(f"{' '.join(command)}: no end after two minutes", code="service.command") from None
    if process.returncode:
        said = output.decode(errors="replace").strip()[-500:]
        raise ConfigError(f"{' '.join(command)}: {said}", code="service.command", remedy="see journalctl -xe")


def _check_program(plan: unit.Plan, root: Path) -> None:
    program = Path(plan.program)
    hidden = next((home for home in HOMES if Path(os.path.realpath(program)).is_relative_to(SYSTEM / home)), None)
    # what a virtual environment links to must be visible too
    python = program.parent / "python"
    hidden = hidden or next(
        (home for home in HOMES if Path(os.path.realpath(python)).is_relative_to(SYSTEM / home)), None
    )
    if root == SYSTEM and not os.access(program, os.X_OK):
        raise ConfigError(f"{program} is no program", code="service.program", remedy="name it with --program")
    if hidden is not None:
        raise ConfigError(
            f"{program} lies in /{hidden}, which is hidden from the service",
            code="service.program",
            remedy="install for the whole system, for instance into a virtual environment in /opt/ogpu-provider",
        )


def _refuse_foreign(path: Path) -> None:
    try:
        text = path.read_text(errors="replace")
    except FileNotFoundError:
        return
    if not text.startswith(unit.MARK):
        raise ConfigError(
            f"{path} was written by somebody else", code="service.foreign_file", remedy="move it away, then try again"
        )


def _write(path: Path, file: File) -> None:
    """Whole or not at all. Raises ConfigError (`service.not_root`)."""
    draft = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(file.text)
        draft.chmod(file.mode)
        os.replace(draft, path)
    except PermissionError:
        raise ConfigError(
            f"{path} cannot be written by this user",
            code="service.not_root",
            remedy="run as root, or look at --dry-run",
        ) from None
