"""From the name in a compose file to content that cannot change, present on this host.

    tag -> digest -> manifest (platform, layers, size, room on the disk) -> one pull, however many want it

What a tag stands for is said by `tags`. Only what we pulled is ever removed, the least recently used first, when the
disk gets full.
"""

import asyncio
import contextlib
import shutil
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

import structlog

from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.errors import EngineError, Retry
from ogpu_provider.domain.units import Address
from ogpu_provider.runtime.compose.quantities import Image
from ogpu_provider.runtime.engine import Engine
from ogpu_provider.runtime.pull import Patience, Progress, Pulling, pull
from ogpu_provider.runtime.registry import Manifest, Registries
from ogpu_provider.runtime.shelf import Pulled, Shelf
from ogpu_provider.runtime.tags import Tags

log = structlog.get_logger()
GIB = 1 << 30
UNPACKED = 3
"""An image takes about this many times its download on the disk."""
MAX_LAYERS = 127
"""More than any engine takes."""
LEAST_TO_LEARN = 1 << 20
"""Bytes; of a smaller pull most of the time is not its download."""


@dataclass(frozen=True, slots=True)
class ImagePolicy:
    """`most`: compressed bytes of one image. Times in seconds. `keep_free`, `start_free`: shares of the engine's disk:
    a pull that comes below the first is given up, and below the second ours are removed."""

    most: int = 64 * GIB
    patience: Patience = field(default_factory=Patience)
    keep_free: float = 0.05
    start_free: float = 0.10


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes of the disk that the engine's images lie on."""

    total: int
    free: int


class Images:
    """`room` looks at the engine's disk, None where it is not this host's to see. `learn_rate` is
    told how many bytes a second each pull came to, its unpacking included. `tags`: what names stand for.
    """

    def __init__(
        self,
        engine: Engine,
        registries: Registries,
        shelf: Shelf,
        clock: Clock,
        policy: ImagePolicy,
        *,
        room: Callable[[str], Room | None] | None = None,
        learn_rate: Callable[[float], None] = lambda _rate: None,
    ) -> None:
        self._engine = engine
        self._registries = registries
        self._shelf = shelf
        self.tags = Tags(engine, registries, shelf, clock)
        self._clock = clock
        self._policy = policy
        self._room = room or _room
        self._learn_rate = learn_rate
        self._waiting: dict[str, list[Address]] = {}
        self._needs: dict[Address, dict[str, int]] = {}
        self._root = ""
        self._locks: dict[str, asyncio.Lock] = {}
        self._failed: dict[str, tuple[float, EngineError]] = {}
        self._pulls: dict[str, Progress] = {}

    def pulls(self) -> dict[Address, tuple[Pulling, ...]]:
        """What is on its way now, for each source that waits for it."""
        now = self._clock.monotonic()
        found: dict[Address, tuple[Pulling, ...]] = {}
        for reference, progress in self._pulls.items():
            for source in self._waiting.get(reference, ()):
                found[source] = (*found.get(source, ()), progress.seen(now))
        return found

    async def aclose(self) -> None:
        await self._registries.aclose()

    async def pin(
        self, image: Image, source: Address | None = None, tell: Callable[[str], None] = lambda _line: None
    ) -> str:
        """Return `repository@sha256:...`, present on this host.

        Raises EngineError: see `Registries.manifest` and `pull.pull`; engine.image_too_large, engine.no_room.
        """
        digest = image.digest or await self.tags.digest(image, source)
        reference = image.pinned(digest)
        if await self._engine.image(reference) is None:
            with self._waits(reference, source):
                await self._bring(Image(image.repository, image.tag, digest), reference, tell)
        await self._shelf.used(reference, self._clock.now())
        if source is not None:
            self._needs.setdefault(source, {})[reference] = await self._shelf.size(reference)
        return reference

    async def pinned(self, image: Image, source: Address) -> str:
        """The digest that a source's image has here; empty while its tag stands for nothing yet. Asks nobody."""
        if image.digest:
            return image.digest
        pin = await self._shelf.tag(source, str(image))
        return pin.digest if pin else ""

    async def left(self, source: Address) -> int:
        """Compressed bytes of what a source was started with and is gone since, and of what is pulled for it now."""
        total = sum(max(0, each.bytes - each.bytes_done) for each in self.pulls().get(source, ()))
        for reference, size in self._needs.get(source, {}).items():
            if reference not in self._pulls and await self._engine.image(reference) is None:
                total += size
        return total

    async def collect(self, kept: Collection[str] = ()) -> list[str]:
        """While the disk is fuller than it should be: remove ours, least recently used first, none that a container
        or `kept` needs. Returns what was removed.
        """
        removed: list[str] = []
        in_use = await self._engine.container_images() if await self._crowded() else set()
        for each in await self._shelf.pulled():
            if not await self._crowded():
                break
            found = await self._engine.image(each.reference)
            if found is not None and (found.id in in_use or each.reference in kept):
                continue
            if each.reference in self._pulls:
                continue
            with contextlib.suppress(EngineError):  # somebody uses it after all, or it is gone
                if found is not None:
                    await self._engine.remove_image(each.reference)
                    removed.append(each.reference)
                    log.info("image_removed", image=each.reference, reason="the disk is nearly full")
                await self._shelf.take(each.reference)
        return removed

    async def _bring(self, image: Image, reference: str, tell: Callable[[str], None]) -> None:
        """The first one pulls; who comes meanwhile waits, and shares what comes of it."""
        asked = self._clock.monotonic()
        async with self._locks.setdefault(reference, asyncio.Lock()):
            at, error = self._failed.get(reference, (asked - 1.0, None))
            if error is not None and at > asked:
                raise error
            if await self._engine.image(reference) is not None:
                return
            try:
                await self._fetch(image, reference, tell)
            except EngineError as failure:
                self._failed[reference] = (self._clock.monotonic(), failure)
                raise
            self._failed.pop(reference, None)

    async def _fetch(self, image: Image, reference: str, tell: Callable[[str], None]) -> None:
        manifest = await self._registries.manifest(image)
        await self._fits(reference, manifest)
        await self._shelf.put(Pulled(reference, manifest.size, self._clock.now()))
        progress = Progress(reference, manifest.size, manifest.layers, self._clock.monotonic())
        with self._shown(progress):
            await pull(
                self._engine,
                image,
                progress,
                login=self._registries.login(image),
                patience=self._policy.patience,
                clock=self._clock,
                full=lambda: self._free_share() < self._policy.keep_free,
                tell=tell,
            )
        seconds = self._clock.monotonic() - progress.started
        if progress.fetched >= LEAST_TO_LEARN and seconds > 0:
            self._learn_rate(progress.fetched / seconds)
        if await self._engine.image(reference) is None:
            text = f"{reference} is not there after its pull"
            raise EngineError(text, code="engine.image_missing", retry=Retry.LATER)

    @contextlib.contextmanager
    def _waits(self, reference: str, source: Address | None) -> Iterator[None]:
        if source is None:
            yield
            return
        waiting = self._waiting.setdefault(reference, [])
        waiting.append(source)
        try:
            yield
        finally:
            waiting.remove(source)
            if not waiting:
                self._waiting.pop(reference, None)

    @contextlib.contextmanager
    def _shown(self, progress: Progress) -> Iterator[None]:
        self._pulls[progress.reference] = progress
        try:
            yield
        finally:
            del self._pulls[progress.reference]

    async def _fits(self, reference: str, manifest: Manifest) -> None:
        if manifest.size > self._policy.most or len(manifest.layers) > MAX_LAYERS:
            text = f"{reference} has {manifest.size >> 20} MiB in {len(manifest.layers)} layers"
            remedy = f"at most {self._policy.most >> 20} MiB in {MAX_LAYERS} layers are pulled: images.most_gib"
            raise EngineError(text, code="engine.image_too_large", retry=Retry.NEVER, remedy=remedy)
        await self._find_root()
        room = self._room(self._root)
        needed = UNPACKED * manifest.size
        if room is None or room.free - needed >= self._policy.keep_free * room.total:
            return
        text = f"{reference} needs about {needed >> 20} MiB of disk, {room.free >> 20} MiB are free"
        raise EngineError(text, code="engine.no_room", retry=Retry.LATER, remedy=f"free space in {self._root}")

    async def _find_root(self) -> None:
        if not self._root:
            self._root = (await self._engine.info()).root

    async def _crowded(self) -> bool:
        await self._find_root()
        return self._free_share() < self._policy.start_free

    def _free_share(self) -> float:
        """1 where nobody knows."""
        room = self._room(self._root)
        return room.free / room.total if room and room.total else 1.0


def _room(root: str) -> Room | None:
    with contextlib.suppress(OSError):
        usage = shutil.disk_usage(root)
        return Room(usage.total, usage.free)
    return None
