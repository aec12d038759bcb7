"""Images: how a pull ends, which tag counts, who waits for whom, and what is removed."""

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ogpu_provider.domain.errors import EngineError, FetchError, Retry
from ogpu_provider.domain.units import Address
from ogpu_provider.runtime.compose.quantities import Image
from ogpu_provider.runtime.container import EngineInfo, LocalImage
from ogpu_provider.runtime.images import GIB, UNPACKED, ImagePolicy, Images, Room
from ogpu_provider.runtime.pull import Patience
from ogpu_provider.runtime.registry import Login, Registries
from ogpu_provider.runtime.shelf import Pulled, Shelf
from tests.fakes.clock import FakeClock

SOURCE = Address("0x" + "5A" * 20)
NAME = Image("registry.example/x/y", "1")
Step = Callable[[], Mapping[str, Any]]


def digest_of(body: bytes) -> str:
    return "sha256:" + hashlib.sha256(body).hexdigest()


@dataclass(slots=True)
class FakeRegistry:
    """One repository. `tags` to the bytes of a manifest; `account`: what a token is given for, empty for everybody."""

    tags: dict[str, bytes] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    account: str = ""
    down: bool = False
    asked: list[tuple[str, str]] = field(default_factory=list)

    def publish(self, tag: str, layers: Mapping[str, int], machine: str = "amd64") -> str:
        config = json.dumps({"architecture": machine, "os": "linux", "layers": list(layers)}).encode()
        manifest = {
            "config": {"digest": digest_of(config)},
            "layers": [{"digest": digest, "size": size} for digest, size in layers.items()],
        }
        body = json.dumps(manifest).encode()
        self.tags[tag] = self.blobs[digest_of(body)] = body
        self.blobs[digest_of(config)] = config
        return digest_of(body)

    def publish_index(self, tag: str, manifests: Mapping[str, str]) -> str:
        rows = [{"digest": d, "platform": {"os": "linux", "architecture": m}} for m, d in manifests.items()]
        body = json.dumps({"manifests": rows}).encode()
        self.tags[tag] = self.blobs[digest_of(body)] = body
        return digest_of(body)

    async def get(
        self, url: str, *, limit_bytes: int, timeout_s: float = 30.0, headers: Mapping[str, str] | None = None
    ) -> bytes:
        said = (headers or {}).get("Authorization", "")
        self.asked.append((url, said))
        if self.down:
            raise FetchError("no answer", code="fetch.timeout", retry=Retry.LATER)
        if url.startswith("https://auth.example/"):
            if self.account and said != self.account:
                raise status(401)
            return json.dumps({"token": "t0"}).encode()
        if self.account and said != "Bearer t0":
            raise status(401, 'Bearer realm="https://auth.example/token",service="r",scope="x"')
        body = self.tags.get(url.rpartition("/")[2]) or self.blobs.get(url.rpartition("/")[2])
        if body is None:
            raise status(404)
        if len(body) > limit_bytes:
            raise FetchError("too large", code="fetch.too_large", retry=Retry.NEVER)
        return body

    async def aclose(self) -> None:
        pass


def status(code: int, challenge: str = "") -> FetchError:
    error = FetchError(f"answered HTTP {code}", code="fetch.status", retry=Retry.NEVER)
    error.status, error.challenge = code, challenge
    return error


@dataclass(slots=True)
class FakeEngine:
    """`rows` are what a pull says, made when asked for; afterwards the image is there."""

    rows: list[Step] = field(default_factory=list)
    local: dict[str, LocalImage] = field(default_factory=dict)
    in_use: set[str] = field(default_factory=set)
    pulled: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    given_up: int = 0
    on_removal: Callable[[], None] = lambda: None

    async def image(self, reference: str) -> LocalImage | None:
        await asyncio.sleep(0)
        return self.local.get(reference)

    async def info(self) -> EngineInfo:
        return EngineInfo("20.10", "1.41", 2, GIB, (), "runc", (), root="/var/lib/docker")

    async def pull(
        self, repository: str, digest: str, login: Mapping[str, str]
    ) -> AsyncGenerator[Mapping[str, Any], None]:
        self.pulled.append((f"{repository}@{digest}", login))
        try:
            for step in self.rows:
                yield step()
                await asyncio.sleep(0)
        except (GeneratorExit, asyncio.CancelledError):
            self.given_up += 1
            raise
        name = f"{repository}@{digest}"
        self.local[name] = LocalImage(f"id of {digest}", (name,), 1)

    async def remove_image(self, reference: str) -> None:
        self.removed.append(reference)
        del self.local[reference]
        self.on_removal()

    async def container_images(self) -> set[str]:
        return self.in_use


@dataclass(slots=True)
class Bench:
    path: Path
    clock: FakeClock = field(default_factory=FakeClock)
    engine: FakeEngine = field(default_factory=FakeEngine)
    registry: FakeRegistry = field(default_factory=FakeRegistry)
    room: Room | None = None
    logins: dict[str, Login] = field(default_factory=dict)
    policy: ImagePolicy = field(default_factory=lambda: ImagePolicy(patience=Patience(total=100.0, stalled=20.0)))

    @property
    def shelf(self) -> Shelf:
        return Shelf(self.path)

    def images(self) -> Images:
        registries = Registries(self.registry, self.logins, machine="x86_64")
        engine: Any = self.engine
        return Images(engine, registries, self.shelf, self.clock, self.policy, room=lambda _root: self.room)

    def layer(self, seconds: float, done: int, total: int = 1000, state: str = "Downloading") -> Step:
        def step() -> Mapping[str, Any]:
            self.clock._now += seconds
            return {"id": "a", "status": state, "progressDetail": {"current": done, "total": total}}

        return step

    def silence(self, seconds: float = 1.0) -> Step:
        def step() -> Mapping[str, Any]:
            self.clock._now += seconds
            return {}

        return step


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    made = Bench(tmp_path / "images.json")
    made.registry.publish("1", {"sha256:a": 1000, "sha256:b": 500})
    return made


async def refusal(bench: Bench, image: Image = NAME) -> EngineError:
    with pytest.raises(EngineError) as caught:
        await bench.images().pin(image)
    return caught.value


async def test_the_manifest_is_read_first_and_the_pull_is_by_its_digest(bench: Bench) -> None:
    digest = bench.registry.publish("1", {"sha256:a": 1000})
    assert await bench.images().pin(NAME) == f"registry.example/x/y@{digest}"
    assert bench.engine.pulled == [(f"registry.example/x/y@{digest}", {})]
    (kept,) = await bench.shelf.pulled()
    assert kept == Pulled(f"registry.example/x/y@{digest}", 1000, bench.clock.now())
    await bench.images().pin(Image(NAME.repository, "", digest))
    assert len(bench.engine.pulled) == 1, "it is there"


@pytest.mark.parametrize(
    ("layers", "policy", "code"),
    [
        ({"sha256:a": 3 * GIB}, ImagePolicy(most=2 * GIB), "engine.image_too_large"),
        ({f"sha256:{n}": 1 for n in range(128)}, ImagePolicy(), "engine.image_too_large"),
        ({"sha256:a": 40 * GIB}, ImagePolicy(), "engine.no_room"),
    ],
)
async def test_what_is_too_large_is_not_pulled(
    bench: Bench, layers: dict[str, int], policy: ImagePolicy, code: str
) -> None:
    bench.registry.publish("1", layers)
    bench.policy, bench.room = policy, Room(200 * GIB, UNPACKED * 40 * GIB)
    assert (await refusal(bench)).code == code
    assert bench.engine.pulled == []


async def test_an_image_for_another_machine_is_not_pulled(bench: Bench) -> None:
    arm = bench.registry.publish("arm", {"sha256:a": 1}, machine="arm64")
    bench.registry.publish_index("1", {"arm64": arm})
    assert (await refusal(bench)).code == "engine.image_platform"
    assert (await refusal(bench, Image(NAME.repository, "arm"))).code == "engine.image_platform"
    lying = bench.registry.publish_index("2", {"amd64": arm})
    assert (await refusal(bench, Image(NAME.repository, "2", lying))).code == "engine.image_platform"
    assert bench.engine.pulled == []


async def test_an_index_is_pinned_by_its_own_digest(bench: Bench) -> None:
    ours = bench.registry.publish("amd", {"sha256:a": 7})
    index = bench.registry.publish_index("1", {"arm64": "sha256:" + "0" * 64, "amd64": ours})
    assert await bench.images().pin(NAME) == f"{NAME.repository}@{index}"
    assert [each.size for each in await bench.shelf.pulled()] == [7]


async def test_a_registry_that_gives_something_else_is_not_believed(bench: Bench) -> None:
    digest = bench.registry.publish("1", {"sha256:a": 1})
    bench.registry.blobs[digest] += b" "
    assert (await refusal(bench, Image(NAME.repository, "", digest))).code == "engine.bad_manifest"
    body = b'{"layers": [{"digest": "sha256:a", "size": -1}], "config": {"digest": "x"}}'
    bench.registry.tags["1"] = bench.registry.blobs[digest_of(body)] = body
    assert (await refusal(bench)).code == "engine.bad_manifest"
    assert (await refusal(bench, Image(NAME.repository, "none"))).code == "engine.image_missing"


async def test_an_account_goes_to_its_own_registry_and_to_nobody_else(bench: Bench) -> None:
    login = Login("me", "s3cret-word")
    bench.registry.account = login.basic
    assert (await refusal(bench)).code == "engine.image_denied"
    bench.logins = {"other.example": login}
    assert (await refusal(bench)).code == "engine.image_denied"
    assert all("Basic" not in said for _, said in bench.registry.asked)
    bench.logins = {"registry.example": login}
    await bench.images().pin(NAME)
    assert bench.engine.pulled[0][1] == {
        "username": "me",
        "password": "s3cret-word",
        "serveraddress": "registry.example",
    }
    assert {url.split("/")[2] for url, said in bench.registry.asked if said == login.basic} == {"auth.example"}
    assert "s3cret" not in repr(login) + str(login) + bench.path.read_text()


async def test_ten_that_want_an_image_cost_one_pull(bench: Bench) -> None:
    bench.engine.rows = [bench.layer(0.1, n) for n in range(20)]
    images = bench.images()
    names = await asyncio.gather(*(images.pin(NAME) for _ in range(10)))
    assert len(set(names)) == len(bench.engine.pulled) == 1
    assert images.pulls() == {}


async def test_those_who_waited_for_a_pull_share_its_failure(bench: Bench) -> None:
    bench.engine.rows = [bench.silence(0.1), lambda: {"error": "no space left on device"}]
    images = bench.images()
    found = await asyncio.gather(*(images.pin(NAME) for _ in range(10)), return_exceptions=True)
    assert [getattr(each, "code", "") for each in found] == ["engine.pull_failed"] * 10
    assert len(bench.engine.pulled) == 1
    bench.engine.rows = []
    await images.pin(NAME)


async def test_who_leaves_ends_the_pull_and_the_next_one_takes_over(bench: Bench) -> None:
    bench.engine.rows = [bench.layer(0.1, n) for n in range(50)]
    images = bench.images()
    first, second = (asyncio.create_task(images.pin(NAME, SOURCE)) for _ in range(2))
    while not images.pulls():
        await asyncio.sleep(0)
    first.cancel()
    assert await second
    assert (len(bench.engine.pulled), bench.engine.given_up) == (2, 1)


async def test_a_pull_shows_how_far_each_layer_is(bench: Bench) -> None:
    lines: list[str] = []
    bench.engine.rows = [
        bench.layer(1.0, 400),
        lambda: {"id": "b", "status": "Pull complete"},
        bench.layer(6.0, 800),
        bench.layer(6.0, 0, state="Pull complete"),
    ]
    images = bench.images()
    task = asyncio.create_task(images.pin(NAME, SOURCE, lines.append))
    while not ((pulls := images.pulls()) and pulls[SOURCE][0].layers_done == 1):
        await asyncio.sleep(0)
    (seen,) = pulls[SOURCE]
    assert (seen.layers_done, seen.layers, seen.bytes_done, seen.bytes) == (1, 2, 400 + 500, 1500)
    await task
    assert [line.split(", ")[1] for line in lines] == ["1 of 2 layers", "2 of 2 layers"]


@pytest.mark.parametrize(
    ("seconds", "grows", "code"), [(1.0, True, "engine.pull_timeout"), (1.0, False, "engine.pull_stalled")]
)
async def test_a_pull_that_lasts_or_stalls_is_given_up(bench: Bench, seconds: float, grows: bool, code: str) -> None:
    bench.engine.rows = [bench.layer(seconds, n if grows else 0) for n in range(500)]
    start = bench.clock.now()
    assert (await refusal(bench)).code == code
    assert bench.clock.now() - start == pytest.approx(100 if grows else 21, abs=2)
    assert bench.engine.given_up == 1


async def test_a_pull_is_given_up_where_the_disk_gets_full(bench: Bench) -> None:
    bench.room = Room(100 * GIB, 50 * GIB)

    def filling() -> Mapping[str, Any]:
        bench.clock._now += 2
        bench.room = Room(100 * GIB, 4 * GIB)
        return {"id": "a", "status": "Extracting", "progressDetail": {}}

    bench.engine.rows = [bench.layer(1.0, 5), filling, bench.silence(), bench.silence()]
    assert (await refusal(bench)).code == "engine.no_room"
    assert bench.engine.given_up == 1


async def test_a_tag_stands_for_what_was_approved_until_the_operator_says_otherwise(bench: Bench) -> None:
    first = await bench.images().pin(NAME, SOURCE)
    newer = bench.registry.publish("1", {"sha256:c": 1})
    assert await bench.images().pin(NAME, SOURCE) == first
    pin = await bench.shelf.tag(SOURCE, str(NAME))
    assert pin is not None
    assert (pin.digest, pin.offered) == (first.rpartition("@")[2], newer)
    other = Address("0x" + "5B" * 20)
    assert not await bench.images().tags.accept(other)
    assert await bench.images().tags.accept(SOURCE) == (str(NAME),)
    assert (await bench.images().pin(NAME, SOURCE)).endswith(newer)
    assert not await bench.images().tags.accept(SOURCE)


async def test_a_registry_that_is_away_keeps_nobody_from_what_is_here(bench: Bench) -> None:
    first = await bench.images().pin(NAME, SOURCE)
    bench.registry.down = True
    assert await bench.images().pin(NAME, SOURCE) == first
    tagged = LocalImage("id", (first,), 1)
    bench.engine.local[NAME.tagged] = tagged
    assert await bench.images().pin(NAME) == first
    del bench.engine.local[NAME.tagged]
    assert (await refusal(bench)).code == "engine.registry_silent"


async def test_only_ours_are_removed_and_only_while_the_disk_is_full(bench: Bench) -> None:
    images = bench.images()
    names = []
    for tag in ("old", "used", "kept", "new"):
        bench.registry.publish(tag, {f"sha256:{tag}": 1})
        names.append(await images.pin(Image(NAME.repository, tag)))
        bench.clock._now += 10
    bench.engine.local["theirs@sha256:1"] = LocalImage("theirs", ("theirs@sha256:1",), 1)
    bench.engine.in_use = {bench.engine.local[names[1]].id}
    bench.room = Room(100, 50)
    assert await images.collect() == []
    bench.room = Room(100, 9)

    def freed() -> None:
        bench.room = Room(100, 20)

    bench.engine.on_removal = freed
    assert await images.collect({names[2]}) == [names[0]]
    bench.room = Room(100, 0)
    bench.engine.on_removal = lambda: None
    assert await bench.images().collect({names[2]}) == [names[3]]
    assert set(bench.engine.local) == {names[1], names[2], "theirs@sha256:1"}
    assert [each.reference for each in await bench.shelf.pulled()] == [names[1], names[2]]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pulled": 3}', '{"pulled": [{"x": 1}]}', '{"tags": []}'])
async def test_a_damaged_list_of_ours_is_an_empty_one(tmp_path: Path, text: str) -> None:
    path = tmp_path / "images.json"
    path.write_text(text)
    shelf = Shelf(path)
    assert await shelf.pulled() == []
    await shelf.put(Pulled("x@sha256:1", 1, 1.0))
    assert await Shelf(path).pulled() == [Pulled("x@sha256:1", 1, 1.0)]


async def test_the_rate_of_a_pull_is_learnt_and_not_from_what_was_here_before(bench: Bench) -> None:
    learnt: list[float] = []
    digest = bench.registry.publish("1", {"sha256:a": 8 << 20, "sha256:b": 100 << 20})
    bench.engine.rows = [
        lambda: {"id": digest, "status": f"Pulling from {NAME.repository}"},
        lambda: {"id": "b", "status": "Already exists"},
        bench.layer(4.0, 8 << 20, 8 << 20),
        bench.layer(4.0, 0, state="Pull complete"),
    ]
    registries = Registries(bench.registry, {}, machine="x86_64")
    engine: Any = bench.engine
    images = Images(
        engine, registries, bench.shelf, bench.clock, bench.policy, room=lambda _root: None, learn_rate=learnt.append
    )
    await images.pin(NAME, SOURCE)
    assert learnt == [pytest.approx((8 << 20) / 8.0)]
    bench.registry.publish("1", {"sha256:c": 1000})
    bench.engine.rows = [bench.layer(1.0, 1000)]
    await images.pin(NAME)
    assert len(learnt) == 1, "too small to say anything"
