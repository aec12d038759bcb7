"""Images from a real registry on loopback, into a real engine: what is pulled, by whom it was, and what goes again."""

import asyncio
import contextlib
import io
import secrets
import tarfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest

from ogpu_provider.devnet.registry import ImageRegistry
from ogpu_provider.domain.errors import EngineError
from ogpu_provider.domain.project import ProjectSpec
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.units import Address
from ogpu_provider.runtime.compose.quantities import Image
from ogpu_provider.runtime.engine import Engine
from ogpu_provider.runtime.images import GIB, ImagePolicy, Images, Room
from ogpu_provider.runtime.projects import Projects
from ogpu_provider.runtime.registry import Login
from ogpu_provider.runtime.shelf import Shelf
from tests.accounts import htpasswd
from tests.faults.engine_proxy import engine_proxy
from tests.runtime_host import Host, Imported, images_of

pytestmark = pytest.mark.docker
SOURCE = Address("0x" + "6A" * 20)


@dataclass(slots=True)
class Bench:
    """`rooms`: the last one is what the engine's disk is said to have."""

    engine: Engine
    api: docker.APIClient
    registry: str
    images: Images
    rooms: list[Room]
    made: list[str]

    def publish(self, repository: str, layers: int = 3) -> str:
        """Small layers of noise; not in the engine afterwards. Returns the digest."""
        name = f"{self.registry}/{repository}"
        row = self.api.import_image_from_data(_layer(), repository=name, tag="1")
        assert row
        for _ in range(layers - 1):
            made = self.api.create_container(f"{name}:1", ["x"], labels={"ogpu-test": "layer"})
            self.api.commit(made["Id"], name, "1", changes=f"LABEL noise={secrets.token_hex(8)}")
            self.api.remove_container(made["Id"])
        self.api.push(name, tag="1")
        digest: str = self.api.inspect_distribution(f"{name}:1")["Descriptor"]["digest"]  # type: ignore[no-untyped-call]
        self.api.remove_image(f"{name}:1")
        self.made.append(f"{name}@{digest}")
        return digest


def _layer() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        entry = tarfile.TarInfo("noise")
        entry.size = 200_000
        tar.addfile(entry, io.BytesIO(secrets.token_bytes(entry.size)))
    return out.getvalue()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    engine, api = Engine(), docker.APIClient(version="auto")
    async with ImageRegistry(tmp_path / "registry") as registry:
        made: list[str] = []
        rooms = [Room(100 * GIB, 50 * GIB)]
        images = images_of(engine, tmp_path, ImagePolicy(), room=lambda _root: rooms[-1])
        found = Bench(engine, api, registry.address, images, rooms, made)
        yield found
        await images.aclose()
        for reference in made:
            for row in api.images(all=True):
                if reference in (row.get("RepoDigests") or ()):
                    api.remove_image(reference, force=True)
    api.close()
    await engine.aclose()


async def test_ten_waiters_one_pull_and_the_size_is_known_before(bench: Bench, tmp_path: Path) -> None:
    digest = await asyncio.to_thread(bench.publish, "test/ten")
    image = Image(f"{bench.registry}/test/ten", "1")
    async with engine_proxy(tmp_path) as proxy:
        engine = Engine(proxy.host)
        images = images_of(engine, tmp_path / "ten")
        pinned = await asyncio.gather(*(images.pin(image) for _ in range(10)))
        await images.aclose()
        await engine.aclose()
    assert set(pinned) == {f"{image.repository}@{digest}"}
    assert [line for line in proxy.changed if "/images" in line] == ["POST /images/create"]
    (ours,) = await Shelf(tmp_path / "ten" / "images.json").pulled()
    assert ours.reference == pinned[0]
    assert ours.size > 200_000


class GuardedRegistry(ImageRegistry):
    """Asks for a name and a password."""

    def __init__(self, storage: Path, login: Login) -> None:
        super().__init__(storage)
        self._accounts = storage / "accounts"
        storage.mkdir(parents=True)
        self._accounts.write_text(htpasswd(login))

    def _config(self) -> dict[str, object]:
        return {**super()._config(), "auth": {"htpasswd": {"realm": "test", "path": str(self._accounts)}}}

    async def _answers(self) -> None:
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                    writer.close()
                    return
                await asyncio.sleep(0.05)


async def test_a_private_image_is_pulled_with_the_account_of_its_registry(tmp_path: Path) -> None:
    login = Login("operator", secrets.token_hex(12))
    api, engine = docker.APIClient(version="auto"), Engine()
    async with GuardedRegistry(tmp_path / "registry", login) as registry:
        name = f"{registry.address}/test/private"
        api.import_image_from_data(_layer(), repository=name, tag="1")
        api.push(name, tag="1", auth_config=login.for_engine(registry.address))
        api.remove_image(f"{name}:1")
        nobody = images_of(engine, tmp_path / "nobody")
        with pytest.raises(EngineError) as caught:
            await nobody.pin(Image(name, "1"))
        assert caught.value.code == "engine.image_denied"
        wrong = images_of(engine, tmp_path / "wrong", logins={registry.address: Login("operator", "guess")})
        with pytest.raises(EngineError) as caught:
            await wrong.pin(Image(name, "1"))
        assert caught.value.code == "engine.image_denied"
        ours = images_of(engine, tmp_path / "ours", logins={registry.address: login})
        pinned = await ours.pin(Image(name, "1"))
        assert await engine.image(pinned) is not None
        api.remove_image(pinned, force=True)
        for each in (nobody, wrong, ours):
            await each.aclose()
    await engine.aclose()
    api.close()


async def test_an_image_over_the_limit_is_refused_unpulled(bench: Bench, tmp_path: Path) -> None:
    await asyncio.to_thread(bench.publish, "test/large", 1)
    images = images_of(bench.engine, tmp_path / "small", ImagePolicy(most=100_000))
    with pytest.raises(EngineError) as caught:
        await images.pin(Image(f"{bench.registry}/test/large", "1"))
    assert caught.value.code == "engine.image_too_large"
    assert await bench.engine.image(bench.made[0]) is None
    await images.aclose()


async def test_what_we_pulled_goes_when_the_disk_is_full_and_nothing_else_ever(bench: Bench) -> None:
    for name in ("test/first", "test/second", "test/used", "test/theirs"):
        await asyncio.to_thread(bench.publish, name, 1)
    first, second, used, theirs = bench.made
    await asyncio.to_thread(bench.api.pull, theirs)
    for reference in (first, second, used, theirs):
        repository, _, digest = reference.partition("@")
        await bench.images.pin(Image(repository, "", digest))
    holder = bench.api.create_container(used, ["x"], labels={"ogpu-test": "images"})
    try:
        assert await bench.images.collect() == []
        bench.rooms.append(Room(100 * GIB, GIB))
        assert await bench.images.collect() == [first, second]
        there = [await bench.engine.image(each) is not None for each in bench.made]
        assert there == [False, False, True, True]
    finally:
        bench.api.remove_container(holder["Id"])


async def test_a_changed_tag_runs_once_it_is_approved(host: Host, image: str, imported: Imported) -> None:
    """Through the whole start of a project: the tag's old content runs on, the new one after the operator's word."""
    repository, _, digest = image.partition("@")
    spec = ProjectSpec(
        SOURCE, Environment.CPU, f'services: {{app: {{image: "{repository}:1", ports: ["${{PORT}}:5555"]}}}}'.encode()
    )
    projects = host.projects(tags_every=0.05)
    await projects.up(spec)
    newer = await asyncio.to_thread(_changed, imported, repository)
    assert projects.offers() == {}
    async with watching(projects):
        while not (offers := projects.offers()):
            await asyncio.sleep(0.05)
    (offer,) = offers[SOURCE]
    assert (offer.image, offer.used, offer.offered) == (f"{repository}:1", digest, newer)
    await projects.down(SOURCE)
    await projects.up(spec)
    assert await running(host) == f"{repository}@{digest}"
    assert await projects.approved(SOURCE, "sha256:" + "0" * 64) == ()
    assert await projects.approved(SOURCE, newer) == (f"{repository}:1",)
    assert projects.offers() == {}
    await projects.up(spec)
    assert await running(host) == f"{repository}@{newer}"
    (container,) = await host.engine.containers({"ogpu.source": SOURCE})
    await projects.up(spec)
    assert [each.id for each in await host.engine.containers({"ogpu.source": SOURCE})] == [container.id]
    await projects.down(SOURCE)
    imported.api.remove_image(f"{repository}@{newer}", force=True)


@contextlib.asynccontextmanager
async def watching(projects: Projects) -> AsyncIterator[None]:
    """As the daemon looks at what is served; it must notice within a minute."""
    task = asyncio.create_task(projects.tag_watch.run())
    try:
        async with asyncio.timeout(60):
            yield
    finally:
        task.cancel()


def _changed(imported: Imported, repository: str) -> str:
    api = imported.api
    made = api.create_container(imported.tag)
    api.commit(made["Id"], repository, "1", changes="LABEL version=2")
    api.remove_container(made["Id"])
    api.push(repository, tag="1")
    digest: str = api.inspect_distribution(f"{repository}:1")["Descriptor"]["digest"]  # type: ignore[no-untyped-call]
    api.remove_image(f"{repository}:1")
    return digest


async def running(host: Host) -> str:
    (container,) = await host.engine.containers({"ogpu.source": SOURCE})
    return str(container.raw["Config"]["Image"])
