"""compose/provider.yml on this host's engine, used as its comments say."""

import asyncio
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ogpu_provider.devnet import accounts
from ogpu_provider.devnet.network import LocalNetwork
from ogpu_provider.domain.source import SourceState
from ogpu_provider.domain.task import Task, TaskState
from ogpu_provider.domain.units import Address
from ogpu_provider.runtime.compose.render import INSTANCE
from ogpu_provider.store.reader import SqliteReader, open_readonly
from tests.waiting import until

ROOT = Path(__file__).parents[2]
FILE = ROOT / "compose/provider.yml"
QUICK_HEALTH = "    healthcheck: {interval: 5s, start_period: 2m}\n"


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


async def ran(*words: str, given: str = "", environ: dict[str, str] | None = None) -> Done:
    process = await asyncio.create_subprocess_exec(
        *words,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **(environ or {})},
    )
    out, err = await asyncio.wait_for(process.communicate(given.encode()), 300)
    assert process.returncode is not None
    return Done(process.returncode, out.decode(errors="replace"), err.decode(errors="replace"))


async def inspected(container: str) -> dict[str, Any]:
    done = await ran("docker", "inspect", container)
    assert done.code == 0, done.err
    found: dict[str, Any] = json.loads(done.out)[0]
    return found


class Composition:
    """A project of its own. `image` may be changed in between, as an operator does for an upgrade."""

    def __init__(self, folder: Path, image: str, command: list[str]) -> None:
        self.image = image
        self.instance = f"image-{secrets.token_hex(4)}"
        self._command = command
        self._folder = folder
        self._secret = folder / "keystore-password"
        self._secret.touch(mode=0o600)
        self._secret.write_text("horse\n")
        self.change("")

    def change(self, services: str) -> None:
        """What differs from the shipped file, under `services:`."""
        text = services or f"  provider:\n{QUICK_HEALTH}"
        (self._folder / "changes.yml").write_text(f"services:\n{text}")

    async def compose(self, *words: str, given: str = "", strict: bool = True) -> Done:
        environ = {
            "OGPU_IMAGE": self.image,
            "OGPU_RUNTIME": "runc",
            "OGPU_PASSWORD_FILE": str(self._secret),
            "OGPU_PROVIDER_RUNTIME__INSTANCE": self.instance,
        }
        files = ("--file", str(FILE), "--file", str(self._folder / "changes.yml"))
        done = await ran(*self._command, *files, "--project-name", self.instance, *words, given=given, environ=environ)
        assert done.code == 0 or not strict, done.err
        return done

    async def register(self, network: LocalNetwork, source: str) -> Done:
        """From an empty volume to a provider that serves `source`, with the key on standard input."""
        made = network.describe()
        return await self.compose(
            *("run", "--rm", "-T", "provider", "register", "--yes", "--json", "--accept-warnings"),
            *("--network", "devnet", "--rpc-url", made["rpc_url"], "--ws-url", made["ws_url"]),
            *("--publish-url", made["pin_url"] + "/file/create", "--gateway-url", made["gateway_url"]),
            *("--master", accounts.role("master").address, "--source", source, "--wait", "30"),
            *("--key", "hex", "--key-fd", "0"),
            given=accounts.role("provider").private_key + "\n",
        )

    async def container(self, service: str) -> str:
        """Its id."""
        return (await self.compose("ps", "--quiet", service)).out.strip()

    async def healthy(self, service: str, timeout: float = 120.0) -> str:
        """The service's container, once its health check says that it is well."""
        container = await self.container(service)

        async def look() -> bool:
            found = await inspected(container)
            state = found["State"]
            if found["RestartCount"] or not state["Running"]:
                raise AssertionError((await ran("docker", "logs", "--tail", "20", container)).err)
            failed = [check for check in state["Health"]["Log"] or () if check["ExitCode"]]
            assert len(failed) < 3, failed[-1]
            return bool(state["Health"]["Status"] == "healthy")

        await until(look, timeout, "the container to be healthy", pause=0.5)
        return container

    async def ready(self) -> None:
        """Returns when every source is served."""
        reader = await self.journal()

        async def look() -> bool:
            rows = await reader.sources()
            return bool(rows) and all(row.state is SourceState.READY for row in rows)

        try:
            await until(look, 180, "the source to be ready")
        finally:
            await reader.close()

    async def says(self, container: str, *words: str) -> Any:
        """The JSON answer of a command in the container."""
        done = await ran("docker", "exec", container, "ogpu-provider", *words, "--json")
        assert done.out, done.err
        return json.loads(done.out)

    async def journal(self) -> SqliteReader:
        """The provider's, read beside it: a command in the container takes its time on a busy host."""
        found = await ran("docker", "volume", "inspect", "--format", "{{.Mountpoint}}", f"{self.instance}_data")
        assert found.code == 0, found.err
        return await open_readonly(Path(found.out.strip()) / "provider.db")

    async def task_in(self, task: Address, state: TaskState, timeout: float = 90.0) -> Task:
        """Its row, once it is in `state`."""
        reader = await self.journal()

        async def look() -> Task | None:
            row = await reader.task(task)
            assert not row or not row.state.over or row.state is state, row
            return row if row and row.state is state else None

        try:
            return await until(look, timeout, f"the task in {state}")
        finally:
            await reader.close()

    async def sources_containers(self) -> list[dict[str, Any]]:
        """Containers of sources that this provider started on this host's engine."""
        found = await ran("docker", "ps", "--quiet", "--no-trunc", "--filter", f"label={INSTANCE}={self.instance}")
        return [await inspected(container) for container in found.out.split()]
