"""Engine calls that fail, hang, or are done with their answer lost: nothing of ours left, nothing else touched.

The compose command speaks through the same proxy. The calls are those that a run without faults makes, held against
those that the engine's adapter can make, so that a new one cannot be forgotten.
"""

import ast
import asyncio
import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import docker
import pytest

from ogpu_provider.domain.clock import SystemClock
from ogpu_provider.domain.errors import EngineError
from ogpu_provider.domain.project import ProjectSpec
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.units import Address
from ogpu_provider.runtime import engine as adapter
from ogpu_provider.runtime.composer import Composer
from ogpu_provider.runtime.engine import Engine
from ogpu_provider.runtime.images import ImagePolicy
from ogpu_provider.runtime.projects import Projects
from ogpu_provider.runtime.pull import Patience as Pull
from ogpu_provider.runtime.removal import remove
from tests.faults.engine_proxy import EngineProxy, Fault, engine_proxy
from tests.runtime_host import Host, Imported, host, image, images_of, imported, pushed

__all__ = ["host", "image", "imported", "pushed"]
pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]
SOURCE, TASK = Address("0x" + "2F" * 20), Address("0x" + "7F" * 20)
AT_ONCE = 5
TRIES = 4
"""A life of short patience on a busy machine may end before it comes to the call."""
FOREIGN = {"container": 40, "image": 25, "volume": 25, "network": 10}
"""Decoys of each kind; networks are slow to make and addresses for them few."""
CALLS = {
    "containers": "GET /containers/json",
    "inspect_container": "GET /containers/*/json",
    "inspect_image": "GET /images/*/json",
    "inspect_network": "GET /networks/*",
    "logs": "GET /containers/*/logs",
    "networks": "GET /networks",
    "post": "POST /images/create",
    "remove_container": "DELETE /containers/*",
    "remove_network": "DELETE /networks/*",
    "stop": "POST /containers/*/stop",
    "events": "GET /events",
    "info": "GET /info",
    "version": "GET /version",
}
"""The SDK's methods that the adapter uses in the life of a project, and the engine's calls behind them."""
BESIDE = {"create_network", "get", "ping", "remove_image", "top"}
"""Those that it offers and a project's life does not use yet."""


def used_methods() -> set[str]:
    """Every `api.method(...)` in the adapter."""
    tree = ast.parse(Path(adapter.__file__).read_text())
    calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    found = {
        f.attr for f in calls if isinstance(f, ast.Attribute) and isinstance(f.value, ast.Name) and f.value.id == "api"
    }
    return {name for name in found if not name.startswith("_")}


def test_every_call_of_the_adapter_has_its_faults() -> None:
    assert used_methods() == CALLS.keys() | BESIDE
    forbidden = ("put_archive", "get_archive", "copy", "exec_create", "exec_start", "export", "prune")
    assert not any(word in name for name in used_methods() for word in forbidden)


class Decoys:
    """Other people's things, some of which look very much like ours."""

    def __init__(self, api: docker.APIClient, tag: str, instance: str) -> None:
        self._api = api
        self._name = f"decoy-{secrets.token_hex(4)}"
        self._tag = tag
        like_ours: list[dict[str, str]] = [
            {"ogpu.instance": f"{instance}-b", "ogpu.source": SOURCE},
            {"ogpu.instance": instance[:-1], "ogpu.source": SOURCE},
            {"ogpu.source": SOURCE, "com.docker.compose.project": f"ogpu-{instance}-{SOURCE[2:].lower()}x"},
            {"ogpu.instances": instance},
            {},
        ]
        self.ids: set[str] = set()
        for kind, number in FOREIGN.items():
            for n in range(number):
                name = f"{self._name}-{n}"
                self.ids |= {name, self._make(kind, n, name, like_ours[n % len(like_ours)])}

    def _make(self, kind: str, n: int, name: str, labels: dict[str, str]) -> str:
        """Returns its id."""
        match kind:
            case "container":
                return str(self._api.create_container(self._tag, ["true"], name=name, labels=labels)["Id"])
            case "network":
                pool = docker.types.IPAMPool(subnet=f"10.219.{n}.0/29")
                ipam = docker.types.IPAMConfig(pool_configs=[pool])
                return str(self._api.create_network(name, labels=labels, ipam=ipam)["Id"])
            case "volume":
                return str(self._api.create_volume(name, labels=labels)["Name"])
        self._api.tag(self._tag, name, "1")
        return f"{name}:1"

    def picture(self) -> dict[str, Any]:
        """Everything that the engine says about them."""
        ask: dict[str, Callable[[str], Any]] = {
            "container": self._api.inspect_container,
            "network": self._api.inspect_network,
            "volume": self._api.inspect_volume,
            "image": lambda name: self._api.inspect_image(f"{name}:1")["Id"],  # type: ignore[no-untyped-call]
        }
        return {
            f"{kind} {n}": ask[kind](f"{self._name}-{n}") for kind, number in FOREIGN.items() for n in range(number)
        }

    def remove(self) -> None:
        undo: dict[str, Callable[[str], Any]] = {
            "container": lambda name: self._api.remove_container(name, force=True),
            "network": self._api.remove_network,
            "volume": self._api.remove_volume,
            "image": lambda name: self._api.remove_image(f"{name}:1"),
        }
        for kind, number in FOREIGN.items():
            for n in range(number):
                with contextlib.suppress(docker.errors.APIError):
                    undo[kind](f"{self._name}-{n}")


@pytest.fixture(scope="module")
def decoys(imported: Imported) -> Iterator[Decoys]:
    made = Decoys(imported.api, imported.tag, f"test-{os.getpid()}")
    yield made
    made.remove()


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds for one call, and for the compose command."""

    call: int = 20
    command: float = 90.0


PATIENT = Patience()


def patience(call: str, fault: Fault, tries: int) -> Patience:
    """Short where something hangs, so that giving up is soon; longer each time on a machine that is slow."""
    if fault is not Fault.HANGS:
        return Patience()
    if call in CALLS.values():  # the adapter makes it, first or alone
        return Patience(call=2 * tries)
    return Patience(command=4.0 * tries)


class Life:
    """One source's way through a daemon's runtime, over and over, beside others' of other instances."""

    def __init__(self, number: int, host: Host, proxy: EngineProxy, pinned: str, imported: Imported) -> None:
        self.proxy = proxy
        self._host = host
        self._imported = imported
        self._pinned = pinned
        self._settings = replace(
            host.settings,
            instance=f"{host.settings.instance}-{number}",
            data_dir=host.settings.data_dir / str(number),
            orphan_grace=0.0,
        )
        compose = f'services: {{app: {{image: "{tagged(pinned)}", ports: ["${{PORT}}:5555"]}}}}'.encode()
        self.spec = ProjectSpec(SOURCE, Environment.CPU, compose)

    async def once(self, call: str = "", fault: Fault = Fault.FAILS, patient: Patience = PATIENT) -> None:
        """A daemon's life, with a fault in the first call of a kind. Whatever comes of it, a caller lives with it."""
        settings = replace(
            self._settings,
            start_timeout=patient.command,
            ready_timeout=patient.command,
        )
        engine = Engine(self.proxy.host, call_seconds=patient.call)
        policy = ImagePolicy(patience=Pull(total=patient.command, stalled=patient.command))
        projects = Projects(
            engine,
            Composer(self._host.composer.command, settings.data_dir / "home", self.proxy.host),
            settings,
            images_of(engine, settings.data_dir, policy),
            callback_url=self._host.callback.url,
            clock=SystemClock(),
        )
        self.proxy.armed = (call, fault) if call else None
        watch = asyncio.create_task(projects.watch())
        try:
            await self._live(projects)
            assert not watch.done()
        finally:
            watch.cancel()
            await projects.aclose()

    async def _live(self, projects: Projects) -> None:
        with contextlib.suppress(docker.errors.APIError):
            await asyncio.to_thread(self._imported.api.remove_image, self._pinned, force=True)
        with contextlib.suppress(EngineError):
            await projects.up(self.spec)
            await projects.health(SOURCE)
            await projects.keep_logs(SOURCE, TASK, 0.0)
        with contextlib.suppress(EngineError):
            await projects.down(SOURCE)
        self.proxy.armed = None
        await projects.tidying.reap()

    async def left(self) -> list[str]:
        """What is there of ours after the next look for orphans."""
        labels = {"ogpu.instance": self._settings.instance}
        found = [each.id for each in await self._host.engine.containers(labels)]
        return found + [str(row["Id"]) for row in await self._host.engine.networks(labels)]


def tagged(pinned: str) -> str:
    return pinned.partition("@")[0] + ":1"


@pytest.fixture
async def lives(host: Host, image: str, imported: Imported) -> AsyncIterator[list[Life]]:
    """Each with a proxy, an instance and an image name of its own."""
    directory = Path(tempfile.mkdtemp(prefix="ogpu-engine-"))
    async with contextlib.AsyncExitStack() as stack:
        found = []
        for number in range(AT_ONCE):
            folder = directory / str(number)
            folder.mkdir()
            proxy = await stack.enter_async_context(engine_proxy(folder))
            pinned = image.replace("@", f"-{number}@")
            await asyncio.to_thread(_push, imported, pinned)
            found.append(Life(number, host, proxy, pinned, imported))
        yield found
        for number in range(AT_ONCE):
            await remove(host.engine, {"ogpu.instance": f"{host.settings.instance}-{number}"}, grace=0)
            with contextlib.suppress(docker.errors.APIError):
                await asyncio.to_thread(imported.api.remove_image, image.replace("@", f"-{number}@"), force=True)
    shutil.rmtree(directory)


def _push(imported: Imported, pinned: str) -> None:
    imported.api.tag(imported.tag, pinned.partition("@")[0], "1")
    imported.api.push(pinned.partition("@")[0], tag="1")
    imported.api.remove_image(tagged(pinned))


async def test_nothing_is_left_and_nothing_else_is_touched(lives: list[Life], decoys: Decoys) -> None:
    await lives[0].once()
    assert await lives[0].left() == []
    calls = lives[0].proxy.seen
    assert calls >= set(CALLS.values())
    before = await asyncio.to_thread(decoys.picture)
    pairs = [(call, fault) for fault in Fault for call in sorted(calls)]
    waiting, tried = iter(pairs), 0

    async def work(life: Life) -> None:
        nonlocal tried
        for call, fault in waiting:
            hits = life.proxy.hits
            for tries in range(1, TRIES + 1):
                await life.once(call, fault, patience(call, fault, tries))
                assert await life.left() == [], f"{call} {fault}"
                if life.proxy.hits > hits:
                    break
            assert life.proxy.hits == hits + 1, f"{call} was not made"
            tried += 1

    async with asyncio.TaskGroup() as group:
        for life in lives:
            group.create_task(work(life))
    assert tried == len(calls) * len(Fault)
    assert await asyncio.to_thread(decoys.picture) == before
    changed = [line for life in lives for line in life.proxy.changed]
    assert [line for line in changed if any(each in line for each in decoys.ids)] == []
    assert not any("archive" in line or "/exec" in line for line in changed)
