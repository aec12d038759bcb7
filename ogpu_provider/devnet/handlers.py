"""The sample handlers as plain processes, for machines without a container engine: what the demo falls back to."""

import asyncio
import hashlib
import shutil
import sys
from pathlib import Path

from ogpu_provider.devnet.samples import Sample as SampleFiles
from ogpu_provider.devnet.wheels import run_command
from ogpu_provider.domain.errors import DevnetError
from ogpu_provider.domain.source import Environment
from ogpu_provider.runtime.processes import Sample

NAMES = ("multiply", "ocr")
LOCKED_FOR = (3, 11)
INSTALL_TIMEOUT_S = 900.0


async def sample_handlers(cache: Path) -> list[Sample]:
    """The samples, each with an interpreter that has its libraries; made once and kept in `cache`.

    Raises DevnetError if they cannot be installed.
    """
    found = []
    for name in NAMES:
        files = SampleFiles.find(name, Environment.CPU)
        python = await _interpreter(files, cache)
        found.append(Sample(files.compose_path.read_bytes(), files.directory / "main.py", python))
    return found


async def _interpreter(files: SampleFiles, cache: Path) -> Path:
    lock = files.requirements
    key = hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()[:16]
    home = cache / "handlers" / f"{files.name}-{key}"
    python = home / "bin" / "python"
    if not (home / "complete").exists():
        await asyncio.to_thread(shutil.rmtree, home, ignore_errors=True)
        await _checked([sys.executable, "-m", "venv", str(home)])
        wanted = home / "requirements.txt"
        wanted.write_text(_for_this_python(lock.read_text()))
        await _checked([str(python), "-m", "pip", "install", "--quiet", "--no-input", "--no-deps", "-r", str(wanted)])
        (home / "complete").touch()
    return python


def _for_this_python(lock: str) -> str:
    """The locked hashes are of wheels for one Python; another one takes the same versions without them."""
    if sys.version_info[:2] == LOCKED_FOR:
        return lock
    return "\n".join(line.split()[0] for line in lock.splitlines() if "==" in line and not line.startswith("#"))


async def _checked(command: list[str]) -> None:
    code, output = await run_command(command, INSTALL_TIMEOUT_S)
    if code != 0:
        raise DevnetError(
            f"{' '.join(command[:4])} ... failed: {output[-1500:].strip()}",
            code="devnet.handlers",
            remedy="install a container engine, or make the package index reachable",
        )
