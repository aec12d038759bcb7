"""Sources as plain child processes, for trying the network out on a machine without a container engine.

NO ISOLATION. A child may do whatever this user may do. Therefore it runs only handlers that come with this project:
a compose file must be, byte for byte, one of the given templates with an image name in it. Everything else is
refused. For `demo` and tests on a local network; never for a public one.
"""

import asyncio
import contextlib
import hashlib
import os
import re
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from ogpu_provider.domain.approval import ImageOffer
from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.errors import ComposeRefused, DispatchError, EngineError, Retry
from ogpu_provider.domain.project import Occupancy, Occupant, ProjectSpec, RunningProject
from ogpu_provider.domain.resources import Device
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.units import Address
from ogpu_provider.runtime.compose.quantities import Image
from ogpu_provider.runtime.contract import OpenApiContract
from ogpu_provider.runtime.dispatch import SourceClient
from ogpu_provider.runtime.doors import free_port
from ogpu_provider.runtime.egress.table import Traffic
from ogpu_provider.runtime.logs import TaskLogs
from ogpu_provider.runtime.pull import Pulling

log = structlog.get_logger()
PLACE: Final = b"@IMAGE@"
_STAND_IN = Path(__file__).with_name("standin.py")
_STOP_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Sample:
    """A source of this project: its compose file with @IMAGE@ for the image, the file with its handlers, and the
    interpreter that has what they import."""

    template: bytes
    handlers: Path
    python: Path = Path(sys.executable)

    def matches(self, compose: bytes) -> bool:
        first, *rest = (re.escape(part) for part in self.template.split(PLACE))
        pattern = first + b"".join(
            (b"(?P=image)" if n else b"(?P<image>[^\\s]{1,512})") + part for n, part in enumerate(rest)
        )
        match = re.fullmatch(pattern, compose)
        if not rest or match is None:
            return False
        try:
            Image.parse(match["image"].decode("ascii"))
        except ValueError:
            return False
        return True


@dataclass(frozen=True, slots=True)
class _Child:
    process: asyncio.subprocess.Process
    environment: Environment
    compose_sha256: str
    devices: tuple[str, ...]
    port: int
    contract: OpenApiContract
    output: Path


class Processes:
    """The Runtime port over child processes. See the warning above. Children end with this process."""

    def __init__(
        self,
        samples: Sequence[Sample],
        data_dir: Path,
        *,
        callback_url: Callable[[Address], str],
        provider: Address,
        clock: Clock,
        ready_timeout: float = 30.0,
        on_change: Callable[[Address], None] = lambda _source: None,
    ) -> None:
        self._samples = tuple(samples)
        self._data_dir = data_dir
        self._callback_url = callback_url
        self._provider = provider
        self._clock = clock
        self._ready_timeout = ready_timeout
        self._on_change = on_change
        self._client = SourceClient()
        self._logs = TaskLogs(data_dir / "logs")
        self._children: dict[Address, _Child] = {}
        self._starting: set[Address] = set()

    async def device_need(
        self,
        compose: bytes,
        environment: Environment,
        waived: frozenset[str] = frozenset(),
        source: Address | None = None,
    ) -> int:
        self._sample(compose)
        return 0 if environment is Environment.CPU else 1

    async def device_images(
        self, source: Address, compose: bytes, environment: Environment, waived: frozenset[str] = frozenset()
    ) -> tuple[str, ...]:
        return ()

    async def occupants(self, pids: Collection[int]) -> dict[int, Occupant]:
        return {}

    async def listen(self, source: Address, since: float) -> None:
        """Nothing here uses a device."""

    async def images(
        self, compose: bytes, environment: Environment, waived: frozenset[str] = frozenset()
    ) -> tuple[str, ...]:
        return (str(self._sample(compose).handlers),)

    async def up(self, spec: ProjectSpec) -> None:
        sample = self._sample(spec.compose)
        sha256 = hashlib.sha256(spec.compose).hexdigest()
        child = self._children.get(spec.source)
        if child and child.compose_sha256 == sha256 and child.process.returncode is None:
            return
        await self.down(spec.source)
        self._starting.add(spec.source)
        try:
            self._children[spec.source] = await self._start(spec, sample, sha256)
        finally:
            self._starting.discard(spec.source)
        log.warning("process_up", source=spec.source, handlers=str(sample.handlers), isolation="none")

    def replaces(self, spec: ProjectSpec) -> bool:
        child = self._children.get(spec.source)
        alive = child is not None and child.process.returncode is None
        return child is not None and alive and child.compose_sha256 != hashlib.sha256(spec.compose).hexdigest()

    async def contract(self, source: Address) -> OpenApiContract | None:
        child = self._children.get(source)
        return child.contract if child and child.process.returncode is None else None

    async def dispatch(self, source: Address, task: Address, function: str, data: str) -> None:
        child = self._children.get(source)
        if child is None:
            raise DispatchError("the source's process is not up", code="dispatch.unreachable", retry=Retry.LATER)
        if function not in child.contract.functions:
            text = f"the source has no function {function[:80]!r}"
            raise DispatchError(text, code="dispatch.rejected", retry=Retry.NEVER)
        await self._client.run(child.port, function, task, data)

    async def health(self, source: Address) -> None:
        child = self._children.get(source)
        if child is None:
            raise EngineError("the source's process is not up", code="engine.not_up", retry=Retry.LATER)
        if child.process.returncode is not None:
            text = f"the process ended with exit code {child.process.returncode}"
            raise EngineError(text, code="engine.exited", retry=Retry.LATER)

    async def keep_logs(self, source: Address, task: Address, since: float) -> None:
        """The end of what the process printed; it has no times, so `since` does not narrow it."""
        if child := self._children.get(source):
            output = await asyncio.to_thread(_tail, child.output, self._logs.limit)
            await self._logs.keep(task, [("process", output)])

    async def approved(self, source: Address, digest: str = "") -> tuple[str, ...]:
        """A sample has no tags."""
        return ()

    def forgive(self, source: Address) -> None:
        """Nothing is held against it."""

    async def down(self, source: Address) -> None:
        child = self._children.pop(source, None)
        if child is not None:
            await _end(child.process)

    async def recover(self) -> list[RunningProject]:
        """Always empty: children end with the process that started them."""
        return []

    async def occupancy(self) -> Occupancy:
        alive = {source: child for source, child in self._children.items() if child.process.returncode is None}
        running = (
            RunningProject(source, child.environment, child.compose_sha256, child.devices)
            for source, child in sorted(alive.items())
        )
        return Occupancy(tuple(running), frozenset(self._starting))

    async def own(self, pids: Collection[int]) -> frozenset[int]:
        """Each child leads a session, and what it starts is in it."""
        sessions = {child.process.pid for child in self._children.values()}
        return frozenset(pid for pid in pids if _session(pid) in sessions)

    async def test(self, device: Device) -> None:
        raise EngineError("without a container engine no device is tested", code="engine.trial_impossible")

    async def watch(self) -> None:
        """Tell of children that ended by themselves. Run as a service."""
        ended: set[asyncio.subprocess.Process] = set()
        while True:
            for source, child in list(self._children.items()):
                if child.process.returncode is not None and child.process not in ended:
                    ended.add(child.process)
                    self._on_change(source)
            await self._clock.sleep(0.5)

    async def read_log(self, task: Address) -> str:
        return await self._logs.read(task)

    async def count(self) -> None:
        """Nothing to count."""

    def traffic(self) -> dict[Address, Traffic]:
        """Nothing counts what processes send."""
        return {}

    async def pull_left(self, source: Address) -> int:
        return 0

    def pulls(self) -> Mapping[Address, tuple[Pulling, ...]]:
        return {}

    def offers(self) -> Mapping[Address, tuple[ImageOffer, ...]]:
        return {}

    async def aclose(self) -> None:
        for source in list(self._children):
            await self.down(source)
        await self._client.aclose()

    def _sample(self, compose: bytes) -> Sample:
        for sample in self._samples:
            if sample.matches(compose):
                return sample
        raise ComposeRefused(
            "without a container engine only this project's own sample sources are run",
            code="compose.no_isolation",
            remedy="use runtime.engine: docker",
        )

    async def _start(self, spec: ProjectSpec, sample: Sample, sha256: str) -> _Child:
        port = free_port("127.0.0.1")
        output = self._data_dir / "processes" / f"{spec.source}.log"
        output.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        process = await self._spawn(spec, sample, port, output)
        try:
            contract = await self._ready(process, port, output)
        except BaseException:
            await _end(process)
            raise
        devices = tuple(device.id for device in spec.devices)
        return _Child(process, spec.environment, sha256, devices, port, contract, output)

    async def _spawn(self, spec: ProjectSpec, sample: Sample, port: int, output: Path) -> asyncio.subprocess.Process:
        environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "PYTHONUNBUFFERED": "1",
            "CALLBACK_URL": self._callback_url(spec.source),
            "SOURCE_ADDRESS": spec.source,
            "PROVIDER_ADDRESS": self._provider,
        }
        with output.open("wb") as log_file:
            return await asyncio.create_subprocess_exec(
                *(str(sample.python), str(_STAND_IN), str(sample.handlers), str(port)),
                env=environment,
                cwd=sample.handlers.parent,
                stdin=asyncio.subprocess.PIPE,
                stdout=log_file,
                stderr=log_file,
                start_new_session=True,
            )

    async def _ready(self, process: asyncio.subprocess.Process, port: int, output: Path) -> OpenApiContract:
        give_up = self._clock.monotonic() + self._ready_timeout
        while self._clock.monotonic() < give_up:
            contract = await self._client.contract(port)
            if contract is not None:
                return contract
            if process.returncode is not None:
                said = _tail(output, 300).decode(errors="replace").strip().splitlines()[-1:]
                text = f"the process ended with exit code {process.returncode}: {' '.join(said)}"
                raise EngineError(text, code="engine.exited", retry=Retry.LATER)
            await self._clock.sleep(0.05)
        text = f"no answer on /openapi.json within {self._ready_timeout:g} s"
        raise EngineError(text, code="engine.never_ready", retry=Retry.LATER)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ask by closing its input, then insist."""
    if process.returncode is not None:
        return
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None


def _tail(path: Path, limit: int) -> bytes:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - limit))
        return file.read(limit)
