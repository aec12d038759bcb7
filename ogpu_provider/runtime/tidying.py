"""What is looked at every minute: orphans, images on a disk that fills; and every hour: how large model caches are."""

import contextlib
from collections.abc import Callable

import structlog

from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.errors import EngineError
from ogpu_provider.domain.units import Address
from ogpu_provider.runtime.caches import Cache, measure
from ogpu_provider.runtime.engine import Engine
from ogpu_provider.runtime.images import Images
from ogpu_provider.runtime.project_settings import ProjectSettings
from ogpu_provider.runtime.reaper import Reaper

log = structlog.get_logger()
PAUSE_S = 60.0
MEASURE_EVERY = 60


class Tidying:
    """`kept`: see Reaper. `caches`: as last measured."""

    def __init__(
        self, engine: Engine, settings: ProjectSettings, images: Images, clock: Clock, kept: Callable[[Address], bool]
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._images = images
        self._clock = clock
        self._reaper = Reaper(engine, settings.instance, clock, kept, grace_s=settings.orphan_grace)
        self.caches: tuple[Cache, ...] = ()

    async def run(self) -> None:
        """For ever."""
        minutes = 0
        while True:
            await self._clock.sleep(PAUSE_S)
            with contextlib.suppress(EngineError):  # the engine does not answer: next time
                await self.reap()
                await self._images.collect()
                if minutes % MEASURE_EVERY == 0:
                    await self.measure()
                minutes += 1

    async def reap(self) -> int:
        """See Reaper.reap."""
        return await self._reaper.reap(stop_grace=self._settings.stop_grace)

    async def measure(self) -> None:
        """Look how large the caches are, and say it."""
        self.caches = tuple(await measure(self._engine, self._settings.instance))
        if self.caches:
            largest = self.caches[0]
            size = sum(each.size or 0 for each in self.caches)
            log.info("caches_measured", volumes=len(self.caches), bytes=size, largest=largest.volume, of=largest.source)
