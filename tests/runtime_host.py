"""A real engine with a small source in a local registry: this Python, its libraries, and sourceapp.py."""

import asyncio
import io
import os
import re
import secrets
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import docker
import pytest

from ogpu_provider.devnet.registry import ImageRegistry
from ogpu_provider.devnet.tools import ensure_compose
from ogpu_provider.domain.clock import SystemClock
from ogpu_provider.domain.task import ResultOutcome
from ogpu_provider.domain.units import Address
from ogpu_provider.domain.verdict import Reason
from ogpu_provider.ipfs.fetch import Fetcher
from ogpu_provider.runtime.callback.server import CallbackServer
from ogpu_provider.runtime.compose.policy import Limits
from ogpu_provider.runtime.composer import Composer, discover
from ogpu_provider.runtime.engine import Engine
from ogpu_provider.runtime.images import ImagePolicy, Images
from ogpu_provider.runtime.project_settings import ProjectSettings
from ogpu_provider.runtime.projects import Projects
from ogpu_provider.runtime.registry import Login, Registries
from ogpu_provider.runtime.removal import remove
from ogpu_provider.runtime.shelf import Shelf

APP = Path(__file__).parent / "integration" / "runtime" / "sourceapp.py"
PYTHON = "/usr/local/bin/python3"
REPOSITORY = "ogpu-provider-test/source"
_SKIPPED = {"site-packages", "test", "tests", "idlelib", "tkinter", "__pycache__", "ensurepip", "lib2to3"}


def source_tar() -> bytes:
    """A root file system with this very interpreter (its libraries found with ldd), and the app."""
    out = io.BytesIO()
    seen: set[str] = set()
    with tarfile.open(fileobj=out, mode="w") as tar:

        def add(path: str, target: str) -> None:
            if target not in seen and os.path.isfile(path):
                seen.add(target)
                tar.add(os.path.realpath(path), target, recursive=False)

        def add_program(path: str, target: str) -> None:
            add(path, target)
            needed = subprocess.run(["ldd", path], capture_output=True, text=True, check=False).stdout
            for library in re.findall(r"(/\S+)", needed):
                add(library, library)

        add_program(os.path.realpath(sys.executable), PYTHON)
        stdlib = sysconfig.get_path("stdlib")
        for directory, folders, files in os.walk(stdlib):
            folders[:] = [name for name in folders if name not in _SKIPPED and not name.startswith("config-")]
            for name in files:
                path = os.path.join(directory, name)
                (add_program if name.endswith(".so") else add)(path, path)
        add(str(APP), "/app/main.py")
    return out.getvalue()


def home_of_stdlib() -> str:
    return str(Path(sysconfig.get_path("stdlib")).parents[1])


@dataclass(frozen=True, slots=True)
class Imported:
    """The source's image in the engine, under a tag that nobody else uses."""

    api: docker.APIClient
    tag: str


@pytest.fixture(scope="session")
def imported() -> Iterator[Imported]:
    api = docker.APIClient(version="auto")
    tag = secrets.token_hex(6)
    changes = [f'CMD ["{PYTHON}", "/app/main.py"]', f"ENV PYTHONHOME={home_of_stdlib()} PYTHONUNBUFFERED=1"]
    api.import_image_from_data(source_tar(), repository=REPOSITORY, tag=tag, changes=changes)
    yield Imported(api, f"{REPOSITORY}:{tag}")
    api.remove_image(f"{REPOSITORY}:{tag}", force=True)
    api.close()


@pytest.fixture(scope="session")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Storage of the registry; layers that one test pushed are there for the next."""
    return tmp_path_factory.mktemp("registry")


@pytest.fixture
async def image(imported: Imported, pushed: Path) -> AsyncIterator[str]:
    """The pinned name of the source's image in a local registry; the engine does not know it under that name yet."""
    api = imported.api
    async with ImageRegistry(pushed) as registry:
        repository = f"{registry.address}/test/source"

        def push() -> str:
            api.tag(imported.tag, repository, "1")
            api.push(repository, tag="1")
            digest: str = api.inspect_distribution(f"{repository}:1")["Descriptor"]["digest"]  # type: ignore[no-untyped-call]
            api.remove_image(f"{repository}:1")
            return f"{repository}@{digest}"

        pinned = await asyncio.to_thread(push)
        yield pinned
        if any(pinned in (row.get("RepoDigests") or ()) for row in api.images()):
            api.remove_image(pinned, force=True)


@dataclass(slots=True)
class Inbox:
    """A sink that keeps the first body for each task."""

    bodies: dict[tuple[Address, Address], bytes] = field(default_factory=dict)
    refused: list[tuple[Address, Address, Reason]] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def foresee(self, source: Address, task: Address) -> ResultOutcome | None:
        return None

    async def accept(self, source: Address, task: Address, body: bytes) -> ResultOutcome:
        first = self.bodies.setdefault((source, task), body)
        self.arrived.set()
        return ResultOutcome.STORED if first is body else ResultOutcome.SAME

    async def refuse(self, source: Address, task: Address, reason: Reason) -> None:
        self.refused.append((source, task, reason))


def images_of(
    engine: Engine,
    data_dir: Path,
    policy: ImagePolicy | None = None,
    *,
    logins: Mapping[str, Login] | None = None,
    **more: Any,
) -> Images:
    """What pulls from a registry on loopback."""
    registries = Registries(Fetcher(allow_private=True), logins)
    return Images(engine, registries, Shelf(data_dir / "images.json"), SystemClock(), policy or ImagePolicy(), **more)


@dataclass(frozen=True, slots=True)
class Host:
    """Everything for making daemons' runtimes on this engine."""

    engine: Engine
    composer: Composer
    callback: CallbackServer
    inbox: Inbox
    settings: ProjectSettings
    made: list[Projects]
    changes: list[Address]

    def projects(self, **changes: object) -> Projects:
        engine = Engine()
        projects = Projects(
            engine,
            self.composer,
            replace(self.settings, **changes),  # type: ignore[arg-type]
            images_of(engine, self.settings.data_dir),
            callback_url=self.callback.url,
            clock=SystemClock(),
            on_change=self.changes.append,
        )
        self.made.append(projects)
        return projects


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    engine = Engine()
    command = await discover(await ensure_compose())
    inbox = Inbox()
    callback = CallbackServer(await engine.bridge_gateway(), 0, b"s" * 32, inbox)
    settings = ProjectSettings(
        instance=f"test-{os.getpid()}",
        data_dir=tmp_path / "data",
        provider=Address("0x" + "ab" * 20),
        ready_timeout=60.0,
        stop_grace=1,
        limits=Limits(memory=256 << 20, cpus=1.0, pids=64, private_registries=True),
    )
    async with callback:
        composer = Composer(command, tmp_path / "home")
        made: list[Projects] = []
        yield Host(engine, composer, callback, inbox, settings, made, [])
        await remove(engine, {"ogpu.instance": settings.instance}, grace=0)
        for projects in made:
            await projects.aclose()
    await engine.aclose()
    client = docker.APIClient(version="auto")
    for volume in client.volumes(filters={"label": f"ogpu.instance={settings.instance}"})["Volumes"] or ():
        client.remove_volume(volume["Name"])
    client.close()
