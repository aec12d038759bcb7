"""What a tag stands for here: what it stood for when its source first ran, until the operator takes what is offered.

A registry may have something else under a tag by now. That is noticed when a source's containers start and, in
between, every few hours; it is shown, and used once the operator approves it.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping

import structlog

from ogpu_provider.domain.approval import ImageOffer
from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.errors import EngineError
from ogpu_provider.domain.units import Address
from ogpu_provider.runtime.compose.quantities import Image
from ogpu_provider.runtime.engine import Engine
from ogpu_provider.runtime.registry import Registries
from ogpu_provider.runtime.shelf import Shelf, TagPin

log = structlog.get_logger()
FIRST_LOOK_S = 60.0
_SILENT = ("engine.registry_silent", "engine.image_missing", "engine.image_denied")


class Tags:
    """By source: two sources may have approved different content under one tag."""

    def __init__(self, engine: Engine, registries: Registries, shelf: Shelf, clock: Clock) -> None:
        self._engine = engine
        self._registries = registries
        self._shelf = shelf
        self._clock = clock

    async def digest(self, image: Image, source: Address | None) -> str:
        """What a tag stands for: as approved with its source, else as its registry has it. Raises like
        `Registries.digest`, unless something is known that may run.
        """
        pin = await self._shelf.tag(source, str(image)) if source else None
        try:
            now = await self._registries.digest(image)
        except EngineError as error:
            if pin is not None:
                return pin.digest
            if error.code in _SILENT and (known := await self._known(image)):
                return known
            raise
        if source is None:
            return now
        return await self._compared(source, str(image), pin, now)

    async def look(self, source: Address) -> None:
        """Ask what is under a source's tags now. A registry that does not answer is asked the next time."""
        for name, pin in (await self._shelf.tags(source)).items():
            try:
                now = await self._registries.digest(Image.parse(name))
            except (EngineError, ValueError) as error:
                log.info("tag_unread", source=source, image=name, error=str(error))
            else:
                await self._compared(source, name, pin, now)

    async def load(self) -> None:
        """Before `offers` knows of what was noticed in an earlier run."""
        await self._shelf.load()

    async def named(self, source: Address, images: Collection[str]) -> None:
        """A source's file names these images, and no other any more."""
        await self._shelf.keep_tags(source, images)

    async def accept(self, source: Address, digest: str = "") -> tuple[str, ...]:
        """The operator's word for what is offered under a source's tags, or for this one digest only; the names of
        the images that will be others.
        """
        return await self._shelf.accept(source, digest)

    def offers(self) -> Mapping[Address, tuple[ImageOffer, ...]]:
        """As of the last look."""
        return self._shelf.offers()

    async def _compared(self, source: Address, image: str, pin: TagPin | None, now: str) -> str:
        if pin is None or (pin.digest == now and pin.offered):
            pin = TagPin(now)
            await self._shelf.set_tag(source, image, pin)
        elif pin.digest != now and pin.offered != now:
            await self._shelf.set_tag(source, image, TagPin(pin.digest, now, self._clock.now()))
            remedy = f"ogpu-provider sources approve {source}"
            log.warning("image_changed", source=source, image=image, used=pin.digest, offered=now, remedy=remedy)
        return pin.digest

    async def _known(self, image: Image) -> str:
        local = await self._engine.image(image.tagged)
        names = (f"{_plain(image.repository)}@", f"{image.repository}@")
        found = next((each for each in local.digests if each.startswith(names)), "") if local else ""
        return found.rpartition("@")[2]


class TagWatch:
    """`every`: seconds between two looks at the tags of what is served; None: only when containers start."""

    def __init__(
        self, tags: Tags, clock: Clock, served: Callable[[], Collection[Address]], *, every: float | None
    ) -> None:
        self._tags = tags
        self._clock = clock
        self._served = served
        self._every = every

    async def run(self) -> None:
        """For ever."""
        await self._tags.load()
        if self._every is None:
            await asyncio.Event().wait()
            return
        await self._clock.sleep(min(FIRST_LOOK_S, self._every))
        while True:
            for source in tuple(self._served()):
                await self._tags.look(source)
            await self._clock.sleep(self._every)


def _plain(repository: str) -> str:
    """The engine's short name for images of its default registry."""
    for prefix in ("docker.io/library/", "docker.io/"):
        if repository.startswith(prefix):
            return repository.removeprefix(prefix)
    return repository
