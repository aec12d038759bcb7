"""An image registry on loopback: Debian's `docker-registry` as a child of this process."""

import asyncio
import json
import shutil
import socket
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from ogpu_provider.domain.errors import DevnetError

HOST = "127.0.0.1"
"""Engines accept plain HTTP from 127.0.0.0/8 without being told."""
START_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 5.0
START_TRIES = 3
LOG_LINES = 5


class ImageRegistry:
    """Serve image repositories from `storage` on 127.0.0.1 for as long as the context is open.

    What was pushed stays in `storage`, so the next run finds it. `port` 0 picks a free one. The child gets a
    signal when this process dies (where util-linux' setpriv is there). Raises DevnetError on entry if the program
    is missing or does not answer.
    """

    def __init__(self, storage: Path, *, port: int = 0, program: str = "docker-registry") -> None:
        self._storage = storage.resolve()
        self._wanted_port = port
        self._program = program
        self._process: asyncio.subprocess.Process | None = None
        self._drain: asyncio.Task[None] | None = None
        self._log: list[str] = []
        self.port = 0

    @property
    def address(self) -> str:
        """host:port, the first part of an image reference."""
        return f"{HOST}:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    async def __aenter__(self) -> Self:
        program = shutil.which(self._program)
        if program is None:
            raise DevnetError(
                f"{self._program} is not installed",
                code="devnet.no_registry",
                remedy="apt-get install docker-registry",
            )
        for left in reversed(range(START_TRIES)):
            self.port = self._wanted_port or _free_port()
            try:
                await self._start(program)
                await self._answers()
                return self
            except DevnetError:
                await self._stop()
                if not left:
                    raise  # else somebody may have taken the free port in between: take another
            except BaseException:
                await self._stop()
                raise
        raise AssertionError("unreachable")

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    async def _start(self, program: str) -> None:
        self._log.clear()
        self._storage.mkdir(parents=True, exist_ok=True)
        config = self._storage / f"config-{self.port}.yml"
        await asyncio.to_thread(config.write_text, json.dumps(self._config()), encoding="utf-8")
        guard = shutil.which("setpriv")
        self._process = await asyncio.create_subprocess_exec(
            *([guard, "--pdeathsig", "TERM", "--"] if guard else []),
            *(program, "serve", str(config)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for us; we stop the child after its users
        )
        self._drain = asyncio.create_task(self._read_log(), name="registry log")

    def _config(self) -> dict[str, object]:
        """JSON is YAML; the registry reads nothing else."""
        return {
            "version": "0.1",
            "log": {"level": "warn", "accesslog": {"disabled": True}},
            "storage": {
                "filesystem": {"rootdirectory": str(self._storage / "data")},
                "delete": {"enabled": True},
                "maintenance": {"uploadpurging": {"enabled": False}},
            },
            "http": {"addr": self.address, "secret": "one process, no load balancer"},
        }

    async def _read_log(self) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            if len(self._log) < LOG_LINES:  # the first lines say why, the rest is a stack trace
                self._log.append(line.decode(errors="replace").rstrip())

    async def _answers(self) -> None:
        assert self._process is not None
        async with httpx.AsyncClient(trust_env=False, timeout=2.0) as client:
            try:
                async with asyncio.timeout(START_TIMEOUT_S):
                    while self._process.returncode is None:
                        if await _says_ok(client, f"{self.url}/v2/"):
                            return
                        await asyncio.sleep(0.05)
            except TimeoutError:
                pass
        if self._drain is not None and self._process.returncode is not None:
            await asyncio.wait({self._drain}, timeout=1.0)  # its last words may come after its end
        raise DevnetError(
            f"the image registry did not start: {' / '.join(self._log) or 'it printed nothing'}",
            code="devnet.registry_start",
        )

    async def _stop(self) -> None:
        process, self._process = self._process, None
        drain, self._drain = self._drain, None
        if process is not None and process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(STOP_TIMEOUT_S):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        if drain is not None:
            await asyncio.wait({drain}, timeout=1.0)
            drain.cancel()
        (self._storage / f"config-{self.port}.yml").unlink(missing_ok=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


async def _says_ok(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(url)).status_code == 200
    except httpx.HTTPError:
        return False
