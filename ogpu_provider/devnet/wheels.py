"""Wheels for an image's Python, fetched by the host: a build has no network and trusts no registry."""

import asyncio
import hashlib
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ogpu_provider.domain.errors import DevnetError

PYTHON = "3.11"
"""Of the base image, Debian 12."""
GLIBC_MINOR = 36
"""Debian 12 has glibc 2.36; wheels of every older manylinux policy run on it."""
DOWNLOAD_TIMEOUT_S = 1800.0


def platform_tags(machine: str) -> tuple[str, ...]:
    """Wheel platforms that an image for `machine` (x86_64, aarch64) takes, newest first."""
    policies = [f"manylinux_2_{minor}_{machine}" for minor in range(GLIBC_MINOR, 4, -1)]
    legacy = [f"manylinux2014_{machine}"]
    if machine == "x86_64":
        legacy += [f"manylinux2010_{machine}", f"manylinux1_{machine}"]
    return (*policies, *legacy)


async def download_wheels(requirements: Path, machine: str, cache: Path) -> Path:
    """Return a directory with exactly the wheels that `requirements` pins by hash, for `machine`.

    A directory that is there was complete when it got its name, so a second call touches no network.
    Raises DevnetError if there is no pip, or no such wheel.
    """
    key = hashlib.sha256(await asyncio.to_thread(requirements.read_bytes) + machine.encode()).hexdigest()[:16]
    target = cache / "wheels" / f"{requirements.stem}-{key}"
    if await asyncio.to_thread(target.is_dir):
        return target
    partial = await asyncio.to_thread(_partial_directory, target)
    try:
        await _pip_download(["--require-hashes", "-r", str(requirements)], machine, partial)
        await asyncio.to_thread(_name, partial, target)
    finally:
        await asyncio.to_thread(shutil.rmtree, partial, ignore_errors=True)
    return target


def _partial_directory(target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=".partial-", dir=target.parent))


def _name(partial: Path, target: Path) -> None:
    partial.chmod(0o755)
    try:
        partial.rename(target)
    except OSError:  # another process was first; its directory has the same content
        if not target.is_dir():
            raise


async def _pip_download(what: Sequence[str], machine: str, into: Path) -> None:
    platforms = [arg for tag in platform_tags(machine) for arg in ("--platform", tag)]
    command = [
        *await _pip(),
        *("download", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps"),
        *("--only-binary=:all:", "--implementation", "cp", "--python-version", PYTHON),
        *platforms,
        *("--dest", str(into), *what),
    ]
    code, output = await run_command(command, DOWNLOAD_TIMEOUT_S)
    if code != 0:
        raise DevnetError(
            f"pip could not download the wheels of the sample: {output[-2000:].strip()}",
            code="devnet.wheels",
            remedy="the package index must be reachable for the first build",
        )


async def _pip() -> list[str]:
    candidates = [[sys.executable, "-m", "pip"]]
    candidates += [[found] for name in ("pip3", "pip") if (found := shutil.which(name))]
    for candidate in candidates:
        if (await run_command([*candidate, "--version"], 30.0))[0] == 0:
            return candidate
    raise DevnetError("pip is not installed", code="devnet.no_pip", remedy="apt-get install python3-pip")


async def run_command(command: Sequence[str], timeout_s: float) -> tuple[int, str]:
    """Exit status and output of a command that is never left running behind."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(timeout_s):
            output, _ = await process.communicate()
    except TimeoutError:
        return 124, f"no end after {timeout_s:.0f} s"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, output.decode(errors="replace")
