"""A whole host of a test's own: engine, registry with stand-in images, a daemon's runtime, in one namespace."""

import asyncio
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import httpx

from ogpu_provider.devnet.registry import ImageRegistry
from ogpu_provider.devnet.tools import ensure_compose
from ogpu_provider.domain.clock import SystemClock
from ogpu_provider.domain.units import Address
from ogpu_provider.runtime.callback.server import CallbackServer
from ogpu_provider.runtime.compose.policy import Limits
from ogpu_provider.runtime.composer import Composer, discover
from ogpu_provider.runtime.egress.guard import EgressSettings, Guard
from ogpu_provider.runtime.engine import Engine
from ogpu_provider.runtime.isolation import Isolation, IsolationSettings
from ogpu_provider.runtime.project_settings import ProjectSettings
from ogpu_provider.runtime.projects import Projects
from ogpu_provider.runtime.removal import remove
from tests.own_engine import OwnEngine, namespace
from tests.runtime_host import PYTHON, Inbox, home_of_stdlib, images_of, source_tar

_IMAGE = re.compile(r"^(\s*image: )(\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class OwnHost:
    """`digests`: what the registry has, by repository: `source`, and `sibling`, which listens at port 11434."""

    own: OwnEngine
    engine: Engine
    projects: Projects
    inbox: Inbox
    registry: str
    digests: Mapping[str, str]
    instance: str
    guard: Guard
    callback: CallbackServer
    reborn: Callable[[Guard], Projects]
    """Another life of the daemon's runtime, with a guard of its own; close it at the end."""

    def image(self, repository: str = "source") -> str:
        return f"{self.registry}/{repository}:latest@{self.digests[repository]}"

    def standing_in(self, compose: str, siblings: Sequence[str]) -> bytes:
        """A file with our images in place of its own, and nothing else changed."""

        def ours(match: re.Match[str]) -> str:
            return match[1] + self.image("sibling" if any(each in match[2] for each in siblings) else "source")

        return _IMAGE.sub(ours, compose).encode()


@asynccontextmanager
async def own_host(
    instance: str,
    arguments: Sequence[str] = (),
    *,
    isolation: Isolation = Isolation.HARDENED,
    prefix: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    guard: Guard | None = None,
    **settings: Any,
) -> AsyncIterator[OwnHost]:
    """`arguments` go to dockerd, `prefix` and `environment` to its start; `settings` are ProjectSettings' own."""
    folder = Path(tempfile.mkdtemp(prefix="ogpu-engine-"))
    with namespace():
        own = OwnEngine(folder, arguments, prefix=prefix, environment=environment)
        try:
            await asyncio.to_thread(own.start)
            async with ImageRegistry(folder / "registry") as registry:
                digests = await asyncio.to_thread(publish, own, registry.address)
                engine, inbox = Engine(own.socket), Inbox()
                async with CallbackServer(await engine.bridge_gateway(), 0, b"s" * 32, inbox) as callback:
                    terms = ProjectSettings(
                        instance=instance,
                        data_dir=folder / "provider",
                        provider=Address("0x" + "ab" * 20),
                        ready_timeout=60.0,
                        stop_grace=1,
                        limits=Limits(memory=512 << 20, cpus=2.0, pids=256, private_registries=True),
                        isolation=IsolationSettings(isolation),
                        **settings,
                    )
                    composer = Composer(await discover(await ensure_compose()), folder / "home", own.socket)

                    def life(keeper: Guard) -> Projects:
                        engine = Engine(own.socket)
                        images = images_of(engine, folder / "provider")
                        return Projects(
                            engine,
                            composer,
                            terms,
                            images,
                            callback_url=callback.url,
                            clock=SystemClock(),
                            guard=keeper,
                        )

                    guard = guard or Guard(instance, EgressSettings())
                    projects = life(guard)
                    try:
                        yield OwnHost(
                            own,
                            engine,
                            projects,
                            inbox,
                            registry.address,
                            digests,
                            instance,
                            guard,
                            callback,
                            life,
                        )
                    finally:
                        await remove(engine, {"ogpu.instance": instance}, grace=1)
                        await projects.aclose()
                        await engine.aclose()
        finally:
            await asyncio.to_thread(own.stop)
            shutil.rmtree(folder, ignore_errors=True)


def publish(own: OwnEngine, registry: str) -> dict[str, str]:
    """Put the stand-in images into the registry."""
    api = docker.APIClient(base_url=own.socket, version="auto")
    changes = [f'CMD ["{PYTHON}", "/app/main.py"]', f"ENV PYTHONHOME={home_of_stdlib()} PYTHONUNBUFFERED=1"]
    api.import_image_from_data(source_tar(), repository=f"{registry}/source", tag="latest", changes=changes)
    row = api.create_container(f"{registry}/source:latest")
    serve = "import sys; sys.path.insert(0, '/app'); import main; main.serve(11434)"
    api.commit(row["Id"], f"{registry}/sibling", "latest", changes=f'CMD ["{PYTHON}", "-c", "{serve}"]')
    api.remove_container(row["Id"])
    digests = {}
    for repository in ("source", "sibling"):
        name = f"{registry}/{repository}"
        api.push(name, tag="latest")
        digests[repository] = _digest(registry, repository)
        api.remove_image(f"{name}:latest")
    api.close()
    return digests


def _digest(registry: str, repository: str) -> str:
    """As the registry itself says it: not every engine can be asked."""
    kinds = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json"
    url = f"http://{registry}/v2/{repository}/manifests/latest"
    answer = httpx.head(url, headers={"Accept": kinds}, trust_env=False).raise_for_status()
    return answer.headers["Docker-Content-Digest"]
