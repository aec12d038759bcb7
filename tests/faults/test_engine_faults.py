"""Engine calls that fail: nothing of ours is left, nothing else touched.

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
from dataclasses import replace
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
from ogpu_provider.runtime.projects import Projects
from tests.faults.engine_proxy import EngineProxy, Fault, engine_proxy
from tests.runtime_host import Host, Imported, host, image, imported, pushed

__all__ = ["host", "image", "imported", "pushed"]
pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]
SOURCE, TASK = Address("0x" + "5F" * 20), Address("0x" + "7F" * 20)
FOREIGN = {"container": 40, "image": 25, "volume": 25, "network": 10}
"""Decoys of each kind; networks are slow to make and addresses for them few."""
CALLS = {
    "containers": "GET /containers/json",
    "inspect_container": "GET /containers/*/json",
    "inspect_distribution": "GET /distribution/*/json",
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
BESIDE = {"create_network", "get", "ping", "remove_image"}
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


@pytest.fixture
async def proxy() -> AsyncIterator[EngineProxy]:
    directory = Path(tempfile.mkdtemp(prefix="ogpu-engine-"))
    async with engine_proxy(directory) as made:
        yield made
    shutil.rmtree(directory)


class Life:
    """One source's way through a daemon's runtime, over and over."""

    def __init__(self, host: Host, proxy: EngineProxy, image: str, imported: Imported) -> None:
        settings = replace(host.settings, orphan_grace=0.0, start_timeout=3.0, ready_timeout=8.0, pull_timeout=8.0)
        self.host, self.proxy = host, proxy
        self._imported = imported
        self._pinned = image
        self._settings = settings
        tagged = image.partition("@")[0] + ":1"
        compose = f'services: {{app: {{image: "{tagged}", ports: ["${{PORT}}:5555"]}}}}'.encode()
        self.spec = ProjectSpec(SOURCE, Environment.CPU, compose)
        self.labels = {"ogpu.instance": settings.instance}

    async def once(self) -> None:
        """A daemon's life. Whatever fails, as a caller of the port lives with it."""
        projects = Projects(
            Engine(self.proxy.host, call_seconds=1),
            Composer(self.host.composer.command, self._settings.data_dir / "home", self.proxy.host),
            self._settings,
            callback_url=self.host.callback.url,
            clock=SystemClock(),
        )
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
        await projects.reap()

    async def left(self) -> list[str]:
        """What is there of ours after the next look for orphans."""
        found = [each.id for each in await self.host.engine.containers(self.labels)]
        return found + [str(row["Id"]) for row in await self.host.engine.networks(self.labels)]


@pytest.mark.parametrize("fault", [Fault.FAILS])
async def test_nothing_is_left_and_nothing_else_is_touched(
    host: Host, proxy: EngineProxy, image: str, imported: Imported, decoys: Decoys, fault: Fault
) -> None:
    life = Life(host, proxy, image, imported)
    await life.once()
    assert await life.left() == []
    assert proxy.seen >= set(CALLS.values())
    before = await asyncio.to_thread(decoys.picture)
    for call in sorted(proxy.seen):
        proxy.armed, hits = (call, fault), proxy.hits
        await life.once()
        assert proxy.hits == hits + 1, f"{call} was not made"
        assert await life.left() == [], call
    assert await asyncio.to_thread(decoys.picture) == before
    touched = [line for line in proxy.changed if any(each in line for each in decoys.ids)]
    assert touched == []
    assert not any("archive" in line or "/exec" in line for line in proxy.changed)
