"""A tag that changed in its registry: noticed while its source is served, shown, and used once the operator says so."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from ogpu_provider.domain.approval import ImageOffer
from ogpu_provider.domain.errors import EngineError, Retry
from ogpu_provider.domain.units import Address
from ogpu_provider.runtime.compose.quantities import Image
from ogpu_provider.runtime.shelf import Shelf
from ogpu_provider.runtime.tags import FIRST_LOOK_S, Tags, TagWatch
from tests.fakes.clock import FakeClock

SOURCE, OTHER = Address("0x" + "5A" * 20), Address("0x" + "5B" * 20)
ONE, TWO = Image("registry.example/x/y", "1"), Image("registry.example/x/z", "2")


class FakeRegistries:
    """Digests by the name of an image; what is not there does not answer."""

    def __init__(self, **_: Any) -> None:
        self.digests: dict[str, str] = {}
        self.asked: list[str] = []

    async def digest(self, image: Image, *, timeout_s: float = 5.0) -> str:
        self.asked.append(str(image))
        await asyncio.sleep(0)
        if str(image) not in self.digests:
            raise EngineError("no answer", code="engine.registry_silent", retry=Retry.LATER)
        return self.digests[str(image)]


class NoEngine:
    async def image(self, _reference: str) -> None:
        return None


class Bench:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = FakeClock()
        self.registries = FakeRegistries()
        self.registries.digests = {str(ONE): "sha256:a", str(TWO): "sha256:b"}
        self.tags = self.anew()

    def anew(self) -> Tags:
        """As after a restart of the daemon."""
        engine: Any = NoEngine()
        registries: Any = self.registries
        return Tags(engine, registries, Shelf(self.path), self.clock)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "images.json")


async def test_what_changed_is_offered_since_it_was_noticed_and_over_restarts(bench: Bench) -> None:
    assert await bench.tags.digest(ONE, SOURCE) == "sha256:a"
    await bench.tags.digest(TWO, SOURCE)
    await bench.tags.look(SOURCE)
    assert bench.tags.offers() == {}
    bench.registries.digests[str(ONE)] = "sha256:new"
    await bench.tags.look(SOURCE)
    noticed = ImageOffer(str(ONE), "sha256:a", "sha256:new", bench.clock.now())
    assert bench.tags.offers() == {SOURCE: (noticed,)}
    await bench.clock.advance(100.0)
    await bench.tags.look(SOURCE)
    again = bench.anew()
    await again.load()
    assert again.offers() == {SOURCE: (noticed,)}
    assert await again.digest(ONE, SOURCE) == "sha256:a", "what was approved runs on"


async def test_an_offer_that_was_taken_back_is_none(bench: Bench) -> None:
    await bench.tags.digest(ONE, SOURCE)
    bench.registries.digests[str(ONE)] = "sha256:new"
    await bench.tags.look(SOURCE)
    bench.registries.digests[str(ONE)] = "sha256:a"
    await bench.tags.look(SOURCE)
    assert bench.tags.offers() == {}
    assert await bench.tags.accept(SOURCE) == ()


async def test_a_registry_that_is_silent_changes_nothing(bench: Bench) -> None:
    await bench.tags.digest(ONE, SOURCE)
    await bench.tags.digest(TWO, SOURCE)
    del bench.registries.digests[str(ONE)]
    bench.registries.digests[str(TWO)] = "sha256:new"
    await bench.tags.look(SOURCE)
    assert [offer.image for offer in bench.tags.offers()[SOURCE]] == [str(TWO)]
    assert await bench.tags.digest(ONE, SOURCE) == "sha256:a"


async def test_the_operators_word_is_for_one_digest_and_one_source(bench: Bench) -> None:
    for source in (SOURCE, OTHER):
        await bench.tags.digest(ONE, source)
    bench.registries.digests[str(ONE)] = "sha256:new"
    for source in (SOURCE, OTHER):
        await bench.tags.look(source)
    assert await bench.tags.accept(SOURCE, "sha256:seen-before") == ()
    assert await bench.tags.accept(SOURCE, "sha256:new") == (str(ONE),)
    assert set(bench.tags.offers()) == {OTHER}
    assert await bench.tags.digest(ONE, SOURCE) == "sha256:new"
    assert await bench.tags.digest(ONE, OTHER) == "sha256:a"


async def test_an_image_that_a_source_does_not_name_any_more_is_forgotten(bench: Bench) -> None:
    await bench.tags.digest(ONE, SOURCE)
    await bench.tags.digest(TWO, SOURCE)
    await bench.tags.named(SOURCE, [str(TWO)])
    bench.registries.digests = {str(ONE): "sha256:x", str(TWO): "sha256:y"}
    await bench.tags.look(SOURCE)
    assert [offer.image for offer in bench.tags.offers()[SOURCE]] == [str(TWO)]


@asynccontextmanager
async def watching(bench: Bench, served: list[Address], every: float | None) -> AsyncIterator[None]:
    task = asyncio.create_task(TagWatch(bench.tags, bench.clock, lambda: served, every=every).run())
    try:
        yield
    finally:
        task.cancel()


async def until(met: Callable[[], object]) -> None:
    """The list of images is read and written in a thread, which no clock of ours drives."""
    async with asyncio.timeout(60):
        while not met():
            await asyncio.sleep(0.002)


async def test_what_is_served_is_looked_at_every_so_often(bench: Bench) -> None:
    for source in (SOURCE, OTHER):
        await bench.tags.digest(ONE, source)
    bench.registries.asked.clear()
    bench.registries.digests[str(ONE)] = "sha256:new"
    async with watching(bench, [SOURCE], 3600.0):
        await until(lambda: bench.clock._sleepers)
        assert bench.registries.asked == []
        await bench.clock.advance(FIRST_LOOK_S)
        await until(lambda: bench.clock._sleepers)
        assert set(bench.tags.offers()) == {SOURCE}, "the other one is not served"
        assert len(bench.registries.asked) == 1
        await bench.clock.advance(3600.0)
        await until(lambda: bench.clock._sleepers)
        assert len(bench.registries.asked) == 2


async def test_without_a_pause_nobody_is_asked_but_what_was_noticed_is_shown(bench: Bench) -> None:
    await bench.tags.digest(ONE, SOURCE)
    bench.registries.digests[str(ONE)] = "sha256:new"
    await bench.tags.look(SOURCE)
    bench.tags = bench.anew()
    bench.registries.asked.clear()
    async with watching(bench, [SOURCE], None):
        await until(bench.tags.offers)
        await bench.clock.advance(1e6)
        assert (bench.registries.asked, set(bench.tags.offers())) == ([], {SOURCE})
