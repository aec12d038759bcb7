"""A Debian root file system with Python, from the mirror that this host itself uses."""

import asyncio
import os
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from ogpu_provider.domain.errors import DevnetError

SUITE = "bookworm"
PACKAGES = ("python3", "python3-venv", "ca-certificates")
RECIPE = f"debian-{SUITE}-1"
"""Changes when the content of the base image is meant to change; part of every sample's tag."""
DEFAULT_MIRROR = "http://deb.debian.org/debian"
TIMEOUT_S = 900.0
DISPENSABLE = ("var/cache/apt", "var/lib/apt/lists", "var/log", "usr/share/doc", "usr/share/man", "usr/share/locale")


@asynccontextmanager
async def make_rootfs(parent: Path) -> AsyncIterator[Path]:
    """Yield a root file system in a new directory under `parent`; it is removed afterwards.

    Raises DevnetError if this process is not root, debootstrap is missing, or it failed.
    """
    if os.geteuid() != 0:
        raise DevnetError(
            "making the base image needs root",
            code="devnet.not_root",
            remedy="run as root once, or let the engine reach a registry with python:3.11-slim-bookworm",
        )
    if (program := shutil.which("debootstrap")) is None:
        raise DevnetError(
            "debootstrap is not installed", code="devnet.no_debootstrap", remedy="apt-get install debootstrap"
        )
    work = await asyncio.to_thread(_work_directory, parent)
    root = work / "root"
    try:
        await _debootstrap(program, root, work / "debootstrap.log")
        await asyncio.to_thread(_slim, root)
        yield root
    finally:
        await asyncio.to_thread(_remove, work)


async def _debootstrap(program: str, root: Path, log: Path) -> None:
    command = (program, "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, str(root), host_mirror())
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await process.wait()
        finally:
            if process.returncode is None:
                process.terminate()  # its trap unmounts /proc of the tree
                await process.wait()
    if process.returncode != 0:
        tail = (await asyncio.to_thread(log.read_text, errors="replace"))[-1500:].strip()
        raise DevnetError(f"debootstrap failed: {tail}", code="devnet.base")


def _work_directory(parent: Path) -> Path:
    parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix="rootfs-", dir=parent))


def host_mirror(etc_apt: Path = Path("/etc/apt")) -> str:
    """The first Debian mirror of the host's apt sources (one-line or deb822), else Debian's default."""
    lists = [etc_apt / "sources.list", *sorted(etc_apt.glob("sources.list.d/*.list"))]
    deb822 = sorted(etc_apt.glob("sources.list.d/*.sources"))
    texts = [(path.read_text(errors="replace"), path in deb822) for path in (*lists, *deb822) if path.is_file()]
    for text, is_deb822 in texts:
        for uri in _stanza_uris(text) if is_deb822 else _line_uris(text):
            if re.fullmatch(r"(https?|file|copy)://?\S+/debian/?", uri):
                return uri
    return DEFAULT_MIRROR


def _line_uris(text: str) -> Iterable[str]:
    return re.findall(r"^\s*deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s", text, re.MULTILINE)


def _stanza_uris(text: str) -> Iterable[str]:
    for stanza in re.split(r"\n\s*\n", text):
        fields = dict(re.findall(r"^(\w[\w-]*):[ \t]*(.*)$", stanza, re.MULTILINE))
        if "deb" in fields.get("Types", "").split() and fields.get("Enabled", "yes").strip() != "no":
            yield from fields.get("URIs", "").split()


def _slim(root: Path) -> None:
    for name in DISPENSABLE:
        for entry in (root / name).iterdir() if (root / name).is_dir() else ():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()


def _remove(work: Path) -> None:
    """Remove a tree, but nothing that an interrupted debootstrap left mounted in it."""
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    left = [mount for mount in mounts if Path(mount.replace("\\040", " ")).is_relative_to(work.resolve())]
    if left:
        raise DevnetError(
            f"still mounted: {', '.join(left)}",
            code="devnet.base",
            remedy=f"umount {' '.join(left)} && rm -r {work}",
        )
    shutil.rmtree(work)
