"""One pull of one image, layer by layer, with an end: a total time, a time without progress, a disk that gets full."""

from collections import deque
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.errors import EngineError, Retry
from ogpu_provider.runtime.compose.quantities import Image
from ogpu_provider.runtime.engine import Engine

_PAUSE_S = 1.0
MARKS = 10
"""So many of the last seconds say how fast a pull is."""
_HERE = "Already exists"


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds: for all of it, and without any progress."""

    total: float = 1800.0
    stalled: float = 120.0


@dataclass(frozen=True, slots=True)
class Pulling:
    """A pull as it is seen from outside. Bytes are compressed ones; `rate` in bytes a second of late."""

    image: str
    layers_done: int
    layers: int
    bytes_done: int
    bytes: int
    rate: float
    seconds: float


@dataclass(slots=True)
class Progress:
    """A pull under way, since `started` (monotonic). `size`: compressed bytes by the manifest, `sizes` of its layers by
    digest; `layers`: id to (state, bytes done, bytes in all).
    """

    reference: str
    size: int
    sizes: Mapping[str, int] = field(default_factory=dict)
    started: float = 0.0
    layers: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    _marks: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=MARKS))

    @property
    def done(self) -> int:
        return sum(done for _, done, _ in self.layers.values())

    @property
    def fetched(self) -> int:
        """Bytes that came over the network: not those of layers that were here before."""
        return sum(done for state, done, _ in self.layers.values() if state != _HERE)

    @property
    def ready(self) -> int:
        """Layers that are there."""
        return sum(state in ("Pull complete", _HERE) for state, _, _ in self.layers.values())

    @property
    def line(self) -> str:
        return f"{self.done >> 20} of {self.size >> 20} MiB, {self.ready} of {len(self.layers)} layers"

    def mark(self, now: float) -> None:
        """Remember how far it is, for the rate; at most once a second."""
        if not self._marks or now - self._marks[-1][0] >= _PAUSE_S:
            self._marks.append((now, self.fetched))

    def seen(self, now: float) -> Pulling:
        since, before = self._marks[0] if self._marks else (self.started, 0)
        rate = (self.fetched - before) / (now - since) if now > since else 0.0
        layers = max(len(self.sizes), len(self.layers))
        return Pulling(self.reference, self.ready, layers, self.done, self.size, rate, now - self.started)

    def note(self, row: Mapping[str, Any]) -> bool:
        """Take one row of the engine's; whether it says that anything went on."""
        layer, state = row.get("id"), str(row.get("status") or "")
        if not layer or not state or state.startswith("Pulling from"):
            return False
        detail = row.get("progressDetail") or {}
        _, done, total = self.layers.get(layer, ("", 0, 0))
        if state == "Downloading":
            done, total = int(detail.get("current") or done), int(detail.get("total") or total)
        elif state in ("Download complete", "Pull complete", _HERE):
            done = next((size for digest, size in self.sizes.items() if layer in digest), done or total)
        now = (state, done, total)
        moved = self.layers.get(layer) != now or state in ("Extracting", "Verifying Checksum")
        self.layers[layer] = now
        return moved


async def pull(
    engine: Engine,
    image: Image,
    progress: Progress,
    *,
    login: Mapping[str, str],
    patience: Patience,
    clock: Clock,
    full: Callable[[], bool],
    tell: Callable[[str], None] = lambda _line: None,
) -> None:
    """Fetch by digest. Leaving ends it in the engine, too. `full` says that there is no room any more.

    Raises EngineError: engine.image_missing, .pull_failed, .pull_timeout, .pull_stalled, .no_room, .unreachable.
    """
    name, digest = progress.reference, progress.reference.rpartition("@")[2]
    start = moved = looked = told = clock.monotonic()
    try:
        async with aclosing(engine.pull(image.repository, digest, login)) as rows:
            async for row in rows:
                now = clock.monotonic()
                if message := row.get("error"):
                    raise EngineError(f"{name}: {message}", code="engine.pull_failed", retry=Retry.LATER)
                moved = now if progress.note(row) else moved
                progress.mark(now)
                if now - start >= patience.total:
                    raise _late(name, "engine.pull_timeout", f"not there in {patience.total:g} s", progress)
                if now - moved >= patience.stalled:
                    raise _late(name, "engine.pull_stalled", f"nothing came for {patience.stalled:g} s", progress)
                if now - looked >= _PAUSE_S:
                    looked = now
                    if full():
                        raise _late(name, "engine.no_room", "the engine's disk gets full", progress)
                if now - told >= 5 * _PAUSE_S:
                    told = now
                    tell(progress.line)
    except EngineError as error:
        if error.code not in ("engine.not_found", "engine.failed", "engine.conflict"):
            raise
        code = "engine.image_missing" if error.code == "engine.not_found" else "engine.pull_failed"
        raise EngineError(f"{name}: {error}", code=code, retry=Retry.LATER) from error


def _late(name: str, code: str, text: str, progress: Progress) -> EngineError:
    return EngineError(f"{name}: {text} ({progress.line})", code=code, retry=Retry.LATER)
