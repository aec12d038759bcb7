"""What the daemon says of itself together with its journal; the journal alone while it does not run."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ogpu_provider.cli import journal
from ogpu_provider.control.client import ControlClient
from ogpu_provider.domain.errors import ControlError

if TYPE_CHECKING:
    from ogpu_provider.store.reader import SqliteReader


def daemon_of(config: Path | None) -> ControlClient:
    """The daemon of the settings in `config`, whether or not it runs. Raises ConfigError."""
    return ControlClient(journal.read_settings(config).data_dir)


async def report(reader: "SqliteReader") -> dict[str, Any]:
    """One document for `status` and `top`; `diagnosis` is what it comes to.

    Raises ControlError if there is a daemon but it gives no answer (`control.no_answer`, `control.forbidden`).
    """
    from dataclasses import asdict

    from ogpu_provider.control import report as reports
    from ogpu_provider.control.diagnosis import diagnose

    now = time.time()
    found: dict[str, Any] = {"at": now, "running": False, "pid": None, "ended": None}
    found |= await reports.history(reader, now)
    meta = await reader.meta()
    try:
        found |= await ControlClient(reader.path.parent).ask("status") | {"running": True}
    except ControlError as error:
        if error.code != "control.no_daemon":
            raise
        pid = holder(reader.path.with_name(reader.path.name + ".lock"))
        if pid is not None:
            text = f"process {pid} holds the journal but has no control socket: it is starting, ending, or no daemon"
            raise ControlError(text, code="control.no_answer", remedy="ask again; see the daemon's log") from None
        found |= await reports.standing(reader) | {"ended": meta.get("ended") or None}
    diagnosis = diagnose(found)
    return found | {"diagnosis": asdict(diagnosis) | {"good": diagnosis.good}}


def holder(lock: Path, locks: Path = Path("/proc/locks")) -> int | None:
    """The process that holds a flock on `lock`. Read from the kernel's list: trying the lock could hinder a start."""
    try:
        inode = lock.stat().st_ino
        lines = locks.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        words = line.split()
        if len(words) > 5 and words[1] == "FLOCK" and words[5].endswith(f":{inode}"):
            return int(words[4])
    return None
