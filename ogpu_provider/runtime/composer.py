"""The compose command: found, run with an empty environment on files that we wrote, and bounded in time."""

import asyncio
import contextlib
import os
import re
import resource
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ogpu_provider.domain.documents import read_json
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
_LIMITS = {resource.RLIMIT_AS: 8 << 30, resource.RLIMIT_FSIZE: 64 << 20, resource.RLIMIT_CORE: 0}
_READING = {**_LIMITS, resource.RLIMIT_AS: 2 << 30, resource.RLIMIT_FSIZE: 4 << 20, resource.RLIMIT_CPU: 5}
"""For a command that speaks to nobody and only reads one file."""
_READING_SECONDS = 30.0
_OUTPUT = 64 * 1024
_OPINION = "opinion.json"


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
        code, output = await self._run(project, directory, arguments, _LIMITS, seconds)
        if code is None:
            raise EngineError(
                f"compose {arguments[0]} took longer than {seconds:g} s: {output}",
                code="engine.start_timeout",
                retry=Retry.LATER,
            )
        if code:
            raise EngineError(f"compose {arguments[0]}: {output}", code="engine.start_failed", retry=Retry.LATER)

    async def read(self, project: str, directory: Path) -> Mapping[str, Any]:
        """What compose understands of `directory`/compose.json, every service of it. It asks no engine.

        Raises EngineError `engine.second_opinion` if it understands nothing.
        """
        path = directory / _OPINION
        path.unlink(missing_ok=True)
        arguments = ("--profile", "*", "config", "--format", "json", "--output", str(path))
        code, output = await self._run(project, directory, arguments, _READING, _READING_SECONDS)
        try:
            if code == 0 and isinstance(found := read_json(await asyncio.to_thread(path.read_bytes)), dict):
                return found
        except (OSError, ValueError) as error:
            output = str(error)
        said = output if code is not None else f"no answer in {_READING_SECONDS:g} s"
        text = f"compose does not read the rendered file: {said}"
        raise EngineError(text, code="engine.second_opinion", retry=Retry.LATER)

    async def _run(
        self, project: str, directory: Path, arguments: Sequence[str], limits: Mapping[int, int], seconds: float
    ) -> tuple[int | None, str]:
        self._home.mkdir(parents=True, exist_ok=True, mode=0o700)
        words = (
            *self.command.words,
            *("--project-name", project, "--project-directory", str(directory), "--ansi", "never"),
            *("--env-file", os.devnull, "--file", str(directory / "compose.json")),
            *arguments,
        )
        return await _execute(words, environment(self._home, self._docker_host), directory, seconds, limits)


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
    words: Sequence[str],
    environment: dict[str, str],
    directory: Path,
    seconds: float,
    limits: Mapping[int, int] = _LIMITS,
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
    for kind, limit in limits.items():
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
