"""Sample images: a base made of the distribution, wheels from the host, a build without a network, a push.

    registry has the tag ──▶ its digest                                      (no engine, no build)
    else: base image ──▶ wheels ──▶ build with network "none" ──▶ push ──▶ digest

Containers often have no DNS and trust no private certificate, so nothing is fetched inside a build.
"""

import asyncio
import platform
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import docker
import httpx
import requests.exceptions
from docker.errors import DockerException, ImageNotFound

from ogpu_provider.devnet.rootfs import RECIPE, make_rootfs
from ogpu_provider.devnet.samples import CONTEXT_FILES, Sample
from ogpu_provider.devnet.wheels import download_wheels
from ogpu_provider.domain.errors import DevnetError
from ogpu_provider.domain.source import Environment

BASE_TAG = "ogpu-provider/base:bookworm"
UPSTREAM_BASE = ("python", "3.11-slim-bookworm")
LABELS = {"ogpu.devnet": "1"}
STAGE_LABEL = "ogpu.devnet.stage"
PROBE_TIMEOUT_S = 5
ENGINE_TIMEOUT_S = 1200
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"

Progress = Callable[[str], None]


def _silent(_: str) -> None: ...


async def build_sample(
    name: str, environment: Environment, registry: str, *, cache: Path, progress: Progress = _silent
) -> str:
    """Have the image of a sample source in `registry` (host:port) and return its reference by digest.

    Idempotent: the tag is a hash of everything that goes in, a tag that is there is not built again. `cache` keeps
    wheels between runs. `progress` hears a sentence before each slow step. Raises DevnetError.
    """
    sample = Sample.find(name, environment)
    repository = f"{registry}/ogpu-samples/{name}"
    tag = sample.fingerprint(RECIPE, platform.machine())
    if digest := await _pushed_digest(registry, f"ogpu-samples/{name}", tag):
        return f"{repository}@{digest}"
    progress(f"{name} ({environment.label}): downloading wheels")
    wheels = await download_wheels(sample.requirements, platform.machine(), cache)
    async with _Engine() as engine:
        if not await engine.has(f"ogpu-samples/{name}:{tag}"):
            base = await BaseImage(engine, cache, progress).ensure()
            progress(f"{name} ({environment.label}): building the image")
            await engine.build(sample, wheels, base, f"ogpu-samples/{name}:{tag}")
        progress(f"{name} ({environment.label}): pushing the image")
        digest = await engine.push(f"ogpu-samples/{name}:{tag}", repository, tag)
    return f"{repository}@{digest}"


class BaseImage:
    """Debian 12 with Python 3.11, tagged BASE_TAG in the engine, which is also the cache.

    `python:3.11-slim-bookworm` if the engine can pull it at once, else a root file system from the Debian mirror of
    this host (about 45 s, needs root and debootstrap).
    """

    def __init__(self, engine: "_Engine", cache: Path, progress: Progress = _silent) -> None:
        self._engine = engine
        self._cache = cache
        self._progress = progress

    async def ensure(self) -> str:
        """Return BASE_TAG, which exists then. Raises DevnetError."""
        if await self._engine.has(BASE_TAG):
            return BASE_TAG
        if await self._engine.can_pull(*UPSTREAM_BASE):
            self._progress("base image: pulling " + ":".join(UPSTREAM_BASE))
            await self._engine.pull(*UPSTREAM_BASE, into=BASE_TAG)
            return BASE_TAG
        self._progress("base image: installing Debian (about a minute, once)")
        async with make_rootfs(self._cache / "base") as root:
            await self._engine.import_tree(root, BASE_TAG)
        return BASE_TAG


class _Engine:
    """The container engine as far as the samples need it; every docker error leaves as a DevnetError."""

    def __init__(self) -> None:
        self._client: docker.DockerClient | None = None

    async def __aenter__(self) -> "_Engine":
        self._client = await self._call(docker.from_env, timeout=ENGINE_TIMEOUT_S)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._client is not None:
            await asyncio.to_thread(self._client.close)

    @property
    def client(self) -> docker.DockerClient:
        assert self._client is not None, "used outside its context"
        return self._client

    async def _call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            return await asyncio.to_thread(function, *args, **kwargs)
        except (DockerException, requests.exceptions.RequestException) as error:
            raise DevnetError(
                f"the container engine refused: {error}",
                code="devnet.engine",
                remedy="is the engine running, and may this user talk to it?",
            ) from error

    async def has(self, tag: str) -> bool:
        def look() -> bool:
            try:
                self.client.images.get(tag)
            except ImageNotFound:
                return False
            return True

        return bool(await self._call(look))

    async def can_pull(self, repository: str, tag: str) -> bool:
        """Whether the engine gets an answer about a public image within PROBE_TIMEOUT_S seconds."""

        def ask() -> bool:
            client = docker.from_env(timeout=PROBE_TIMEOUT_S)
            try:
                client.images.get_registry_data(f"{repository}:{tag}")
            finally:
                client.close()
            return True

        try:
            return bool(await self._call(ask))
        except DevnetError:
            return False

    async def pull(self, repository: str, tag: str, *, into: str) -> None:
        name, _, version = into.partition(":")

        def fetch() -> None:
            self.client.images.pull(repository, tag=tag).tag(name, version)

        await self._call(fetch)

    async def import_tree(self, root: Path, tag: str) -> None:
        """Make a one-layer image of a directory tree."""
        process = await asyncio.create_subprocess_exec(
            *("tar", "--numeric-owner", "--one-file-system", "--sort=name", "-C", str(root), "-cf", "-", "."),
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        with tempfile.TemporaryFile(dir=root.parent) as archive:
            while chunk := await process.stdout.read(1 << 20):
                archive.write(chunk)
            if await process.wait() != 0:
                raise DevnetError("tar could not pack the base image", code="devnet.base")
            archive.seek(0)
            name, _, version = tag.partition(":")
            changes = [f"LABEL {key}={value}" for key, value in LABELS.items()]
            await self._call(
                self.client.api.import_image_from_stream,
                iter(lambda: archive.read(1 << 20), b""),  # an iterator: requests then really sends chunks
                repository=name,
                tag=version,
                changes=changes,
            )

    async def build(self, sample: Sample, wheels: Path, base: str, tag: str) -> None:
        with tempfile.TemporaryDirectory(prefix="ogpu-build-", dir=wheels.parent) as folder:
            context = Path(folder)
            await asyncio.to_thread(_lay_out, sample, wheels, context)
            lines = await self._call(
                lambda: list(
                    self.client.api.build(
                        path=str(context),
                        tag=tag,
                        buildargs={"BASE": base, "STAGE": tag},
                        labels=LABELS,
                        network_mode="none",
                        rm=True,
                        forcerm=True,
                        decode=True,
                    )
                )
            )
        _raise_error_line(lines, f"building {tag} failed")
        stages = {"dangling": True, "label": f"{STAGE_LABEL}={tag}"}  # of this build; others may be under way
        await self._call(self.client.images.prune, filters=stages)

    async def push(self, local: str, repository: str, tag: str) -> str:
        """Push under the registry's name, forget that name again, return the digest."""

        def upload() -> list[Mapping[str, Any]]:
            self.client.images.get(local).tag(repository, tag)
            try:
                return list(self.client.api.push(repository, tag, stream=True, decode=True))
            finally:
                self.client.api.remove_image(f"{repository}:{tag}", noprune=True)

        lines = await self._call(upload)
        _raise_error_line(lines, f"pushing {repository} failed")
        for line in lines:
            if digest := (line.get("aux") or {}).get("Digest"):
                return str(digest)
        raise DevnetError(f"the engine gave no digest for {repository}:{tag}", code="devnet.engine")


def _lay_out(sample: Sample, wheels: Path, context: Path) -> None:
    for name in CONTEXT_FILES:
        shutil.copyfile(sample.directory / name, context / name)
    shutil.copyfile(sample.requirements, context / "requirements.txt")
    (context / "wheels").mkdir()
    for wheel in wheels.iterdir():
        (context / "wheels" / wheel.name).hardlink_to(wheel)


def _raise_error_line(lines: list[Mapping[str, Any]], what: str) -> None:
    for line in lines:
        if error := line.get("error"):
            tail = "".join(str(entry.get("stream", "")) for entry in lines)[-2000:]
            raise DevnetError(f"{what}: {error}\n{tail}".strip(), code="devnet.build")


async def _pushed_digest(registry: str, repository: str, tag: str) -> str | None:
    async with httpx.AsyncClient(trust_env=False, timeout=10.0) as client:
        try:
            answer = await client.head(
                f"http://{registry}/v2/{repository}/manifests/{tag}", headers={"Accept": MANIFEST}
            )
        except httpx.HTTPError as error:
            raise DevnetError(
                f"the image registry at {registry} does not answer: {error}", code="devnet.registry"
            ) from error
    return answer.headers.get("Docker-Content-Digest") if answer.status_code == 200 else None
