"""The compose command: found, run with an empty environment on files that we wrote, and bounded in time."""

import asyncio
import contextlib
import os
import re
import resource
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ogpu_provider.domain.errors import EngineError, Retry

MINIMUM = (2, 20, 0)
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PLUGIN_DIRS = (
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
)
_VERSION = re.compile(r"v?(\d+)\.(\d+)\.(\d+)")
_LIMITS = ((resource.RLIMIT_AS, 8 << 30), (resource.RLIMIT_FSIZE, 64 << 20), (resource.RLIMIT_CORE, 0))
_OUTPUT = 64 * 1024


@dataclass(frozen=True, slots=True)
class Command:
    """Words that start compose, and the version that they answered with."""

    words: tuple[str, ...]
    version: tuple[int, int, int]


async def discover(explicit: Sequence[str] | None = None, *, search_path: str = SEARCH_PATH) -> Command:
    """The first compose that is new enough: the given one, the engine's plugin, or docker-compose on the path.

    Raises EngineError `engine.no_compose`, naming what was tried.
    """
    tried: list[str] = []
    for words in [tuple(explicit)] if explicit else _candidates(search_path):
        version = await _version(words)
        if version is not None and version >= MINIMUM:
            return Command(words, version)
        tried.append(f"{' '.join(words)} ({'.'.join(map(str, version)) if version else 'does not answer'})")
    raise EngineError(
        f"no compose of version {'.'.join(map(str, MINIMUM))} or newer; tried: {', '.join(tried) or 'nothing found'}",
        code="engine.no_compose",
        retry=Retry.NEVER,
        remedy="install the docker compose plugin, or name its program under runtime.compose",
    )


class Composer:
    """Runs one command for one project. `home` is a directory of ours, kept empty, that stands for HOME."""

    def __init__(self, command: Command, home: Path, docker_host: str | None = None) -> None:
        self.command = command
        self._home = home
        self._docker_host = docker_host

    async def run(self, project: str, directory: Path, *arguments: str, seconds: float) -> None:
        """Run `compose ... ARGUMENTS` on `directory`/compose.json.

        Raises EngineError `engine.start_failed` with the end of what it printed, or `engine.start_timeout`.
        """
        self._home.mkdir(parents=True, exist_ok=True, mode=0o700)
        words = (
            *self.command.words,
            *("--project-name", project, "--project-directory", str(directory), "--ansi", "never"),
            *("--env-file", os.devnull, "--file", str(directory / "compose.json")),
            *arguments,
        )
        code, output = await _execute(words, environment(self._home, self._docker_host), directory, seconds)
        if code is None:
            raise EngineError(
                f"compose {arguments[0]} took longer than {seconds:g} s: {output}",
                code="engine.start_timeout",
                retry=Retry.LATER,
            )
        if code:
            raise EngineError(f"compose {arguments[0]}: {output}", code="engine.start_failed", retry=Retry.LATER)


def environment(home: Path, docker_host: str | None) -> dict[str, str]:
    """All that compose gets to see. Nothing of this process's environment is in it."""
    values = {
        "PATH": SEARCH_PATH,
        "HOME": str(home),
        "DOCKER_CONFIG": str(home),
        "COMPOSE_DISABLE_ENV_FILE": "1",
        "COMPOSE_EXPERIMENTAL_GIT_REMOTE": "0",
        "COMPOSE_EXPERIMENTAL_OCI_REMOTE": "0",
    }
    return {**values, "DOCKER_HOST": docker_host} if docker_host else values


def _candidates(search_path: str) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    if docker := shutil.which("docker", path=search_path):
        found.append((docker, "compose"))
    plugins = (Path(directory) / "docker-compose" for directory in _PLUGIN_DIRS)
    found += [(str(plugin),) for plugin in plugins if plugin.is_file()]
    if standalone := shutil.which("docker-compose", path=search_path):
        found.append((standalone,))
    return found


async def _version(words: tuple[str, ...]) -> tuple[int, int, int] | None:
    empty = {"PATH": SEARCH_PATH, "HOME": "/nonexistent"}
    try:
        code, output = await _execute((*words, "version", "--short"), empty, Path("/"), 10.0)
    except OSError:
        return None
    match = _VERSION.search(output)
    return (int(match[1]), int(match[2]), int(match[3])) if code == 0 and match else None


async def _execute(
    words: Sequence[str], environment: dict[str, str], directory: Path, seconds: float
) -> tuple[int | None, str]:
    """Exit code (None: it was stopped, out of time) and the end of the output."""
    process = await asyncio.create_subprocess_exec(
        *words,
        env=environment,
        cwd=directory,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    for kind, limit in _LIMITS:
        with contextlib.suppress(ProcessLookupError, PermissionError, ValueError):
            resource.prlimit(process.pid, kind, (limit, limit))
    tail = bytearray()
    assert process.stdout is not None
    try:
        async with asyncio.timeout(seconds):
            while chunk := await process.stdout.read(_OUTPUT):
                tail += chunk
                del tail[:-_OUTPUT]
            return await process.wait(), _printable(tail)
    except TimeoutError:
        return None, _printable(tail)
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
            await process.wait()


def _printable(tail: bytes | bytearray) -> str:
    text = tail.decode(errors="replace").strip()[-1000:]
    return "".join(c if c.isprintable() else " " for c in text)
