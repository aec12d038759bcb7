"""A real `ogpu-provider run` in a process and a data directory of its own, for the demo, tests and benchmarks."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ogpu_provider import environment
from ogpu_provider.devnet import tools
from ogpu_provider.domain.errors import DevnetError
from ogpu_provider.keys import keystore

STOP_TIMEOUT_S = 30.0
LIGHT_ROUNDS = 4096
PASSWORD = "devnet"  # noqa: S105 - protects nothing but a well-known test key


class ProviderProcess:
    """Starts, kills and restarts a daemon over one data directory.

    `settings` are sections of the configuration file, laid over the ones for a local network. The daemon's log is
    `directory/daemon.log`.
    """

    def __init__(
        self,
        directory: Path,
        network: Mapping[str, Any],
        private_key: str,
        settings: Mapping[str, Mapping[str, object]] | None = None,
    ) -> None:
        self.directory = directory
        self.data_dir = directory / "data"
        self.log = directory / "daemon.log"
        self._network = network
        self._private_key = private_key
        self._settings = settings or {}
        self._process: asyncio.subprocess.Process | None = None

    @property
    def config(self) -> Path:
        return self.directory / "config.toml"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def __aenter__(self) -> Self:
        await self._write()
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self, entry: Sequence[str] = ("-m", "ogpu_provider.cli.main")) -> None:
        """Start over the same data. Tests give another `entry` (arguments of the interpreter) to arm faults."""
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, *entry, "run", "--config", str(self.config)),
                env=environment.others(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is the demo's; it stops the daemon in order
            )

    async def died(self) -> bool:
        """Whether the process has ended, by itself or not."""
        return self._process is not None and self._process.returncode is not None

    @property
    def exit_code(self) -> int | None:
        return self._process.returncode if self._process else None

    async def kill(self) -> None:
        """SIGKILL: nothing is flushed, nothing is told."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def stop(self) -> int:
        """SIGTERM, then wait; returns the exit code. Containers stay up: leaving is not killing."""
        if self._process is None:
            return 0
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(self._process.wait(), STOP_TIMEOUT_S)
            except TimeoutError:
                await self.kill()
        return self._process.returncode or 0

    def check(self) -> None:
        """Raises DevnetError with the end of its log if the daemon has ended by itself."""
        if self._process is not None and self._process.returncode is not None:
            tail = self.log.read_text(errors="replace")[-2000:]
            raise DevnetError(f"the daemon ended with {self._process.returncode}: {tail}", code="devnet.daemon_ended")

    async def _write(self) -> None:
        self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        store, password = self.directory / "keystore.json", self.directory / "password"
        if not store.exists():
            password.touch(mode=0o600)
            password.write_text(PASSWORD)
            await keystore.import_key(store, self._private_key, PASSWORD, rounds=LIGHT_ROUNDS)
        sections: dict[str, dict[str, object]] = {
            "": {"data_dir": str(self.data_dir)},
            "network": {
                "name": "devnet",
                "rpc_url": self._network["rpc_url"],
                "ws_url": self._network["ws_url"],
                "publish_url": self._network["pin_url"] + "/file/create",
                "gateway_url": self._network["gateway_url"],
                "confirmations": 1,
                "allow_private_urls": True,
            },
            "wallet": {"keystore": str(store), "password_file": str(password)},
            "sources": {"serve": "all"},
            "admission": {"min_time_left": 5.0},
            "execution": {"response_margin": 4.0},
            "runtime": {"compose": await tools.ensure_compose()},
            "logs": {"format": "json"},
        }
        for name, values in self._settings.items():
            sections.setdefault(name, {}).update(values)
        self.config.write_text(_toml(sections))
        os.chmod(self.config, 0o600)


def _toml(sections: Mapping[str, Mapping[str, object]]) -> str:
    """Strings, numbers, booleans and lists of them are written alike in JSON and TOML."""
    lines: list[str] = []
    for name, values in sections.items():
        if name:
            lines.append(f"\n[{name}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"
