"""From the name in a compose file to content that cannot change, present on this host.

    tag -> digest -> manifest (platform, layers, size, room on the disk) -> one pull, however many want it

A tag stands for what it stood for when its source first ran; what its registry has by now is noticed, and used once
the operator approves it. Only what we pulled is ever removed, the least recently used first, when the disk gets full.
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
from ogpu_provider.runtime.pull import Patience, Progress, pull
from ogpu_provider.runtime.registry import Manifest, Registries
from ogpu_provider.runtime.shelf import Pulled, Shelf, TagPin

log = structlog.get_logger()
GIB = 1 << 30
UNPACKED = 3
"""An image takes about this many times its download on the disk."""
MAX_LAYERS = 127
"""More than any engine takes."""
_SILENT = ("engine.registry_silent", "engine.image_missing", "engine.image_denied")


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
    """`room` looks at the engine's disk, None where it is not this host's to see."""

    def __init__(
        self,
        engine: Engine,
        registries: Registries,
        shelf: Shelf,
        clock: Clock,
        policy: ImagePolicy,
        *,
        room: Callable[[str], Room | None] | None = None,
    ) -> None:
        self._engine = engine
        self._registries = registries
        self._shelf = shelf
        self._clock = clock
        self._policy = policy
        self._room = room or _room
        self._root = ""
        self._locks: dict[str, asyncio.Lock] = {}
        self._failed: dict[str, tuple[float, EngineError]] = {}
        self._pulls: dict[str, Progress] = {}

    @property
    def pulls(self) -> tuple[Progress, ...]:
        """What is on its way now."""
        return tuple(self._pulls.values())

    async def aclose(self) -> None:
        await self._registries.aclose()

    async def pin(
        self, image: Image, source: Address | None = None, tell: Callable[[str], None] = lambda _line: None
    ) -> str:
        """Return `repository@sha256:...`, present on this host.

        Raises EngineError: see `Registries.manifest` and `pull.pull`; engine.image_too_large, engine.no_room.
        """
        digest = image.digest or await self._digest(image, source)
        reference = image.pinned(digest)
        if await self._engine.image(reference) is None:
            await self._bring(Image(image.repository, image.tag, digest), reference, tell)
        await self._shelf.used(reference, self._clock.now())
        return reference

    async def accept(self, source: Address) -> bool:
        """The operator's word for what is offered under a source's tags; False if nothing is."""
        return await self._shelf.accept(source)

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

    async def _digest(self, image: Image, source: Address | None) -> str:
        """What a tag stands for: as approved with its source, else as its registry has it."""
        pin = await self._shelf.tag(source, str(image)) if source else None
        try:
            now = await self._registries.digest(image)
        except EngineError as error:
            if pin is not None:
                return pin.digest
            if error.code in _SILENT and (known := await self._known(image)):
                return known
            raise
        if source is None or (pin is not None and pin.digest == now):
            return now
        if pin is None:
            await self._shelf.set_tag(source, str(image), TagPin(now))
            return now
        if pin.offered != now:
            await self._shelf.set_tag(source, str(image), TagPin(pin.digest, now))
        remedy = f"ogpu-provider sources approve {source}"
        log.warning("image_changed", source=source, image=str(image), used=pin.digest, offered=now, remedy=remedy)
        return pin.digest

    async def _known(self, image: Image) -> str:
        local = await self._engine.image(image.tagged)
        names = (f"{_plain(image.repository)}@", f"{image.repository}@")
        found = next((each for each in local.digests if each.startswith(names)), "") if local else ""
        return found.rpartition("@")[2]

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
        progress = Progress(reference, manifest.size)
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
        if await self._engine.image(reference) is None:
            text = f"{reference} is not there after its pull"
            raise EngineError(text, code="engine.image_missing", retry=Retry.LATER)

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


def _plain(repository: str) -> str:
    """The engine's short name for images of its default registry."""
    for prefix in ("docker.io/library/", "docker.io/"):
        if repository.startswith(prefix):
            return repository.removeprefix(prefix)
    return repository
