"""What a source's containers printed while a task ran, kept as one bounded file for each task."""

import asyncio
import contextlib
import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ogpu_provider.domain.units import Address

LIMIT = 256 * 1024
KEPT = 2000
"""So many tasks' logs stay, the newest: half a gigabyte at most."""
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.?)")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_TASK = re.compile(r"0x[0-9a-fA-F]{40}")


class TaskLogs:
    def __init__(self, directory: Path, limit: int = LIMIT, *, kept: int = KEPT) -> None:
        self._directory = directory
        self._limit = limit
        self._kept = kept
        self._written = 0

    @property
    def limit(self) -> int:
        return self._limit

    def path(self, task: Address) -> Path:
        """Raises ValueError for what is not an address: it becomes a file name."""
        if not _TASK.fullmatch(task):
            raise ValueError("not a task's address")
        return self._directory / f"{task}.log"

    async def keep(self, task: Address, parts: Sequence[tuple[str, bytes]]) -> None:
        """Replace the task's log by these (service, output) pairs, each cut to its share from the front."""
        await asyncio.to_thread(self._write, self.path(task), parts)

    async def read(self, task: Address) -> str:
        """Empty if there is none."""
        path = self.path(task)
        with contextlib.suppress(FileNotFoundError):
            return await asyncio.to_thread(path.read_text, "utf-8")
        return ""

    def _write(self, path: Path, parts: Sequence[tuple[str, bytes]]) -> None:
        share = self._limit // max(1, len(parts)) - 200
        text = b"".join(
            f"== {service}\n".encode() + clean(output).encode()[-share:].rstrip(b"\n") + b"\n"
            for service, output in parts
        )
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, name = tempfile.mkstemp(dir=self._directory, prefix=".log-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(text.decode(errors="ignore").encode())
            Path(name).replace(path)
            self._forget()
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def _forget(self) -> None:
        """The oldest go, a tenth at once, so that the folder is not read for each task."""
        self._written += 1
        if self._written % max(1, self._kept // 10) != 1 % max(1, self._kept // 10):
            return
        ages = []
        for path in self._directory.glob("0x*.log"):
            with contextlib.suppress(FileNotFoundError):
                ages.append((path.stat().st_mtime_ns, path))
        for _, path in sorted(ages)[: max(0, len(ages) - self._kept)]:
            path.unlink(missing_ok=True)


def clean(output: bytes) -> str:
    """Text that a terminal prints and does not obey."""
    return _CONTROLS.sub("", _ESCAPES.sub("", output.decode(errors="replace").replace("\r\n", "\n")))
