"""Watches over what runs: the engine's events, and the egress rules."""

from collections.abc import Callable

import structlog

from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.errors import EngineError
from ogpu_provider.domain.units import Address
from ogpu_provider.runtime.compose import render
from ogpu_provider.runtime.egress.guard import Guard
from ogpu_provider.runtime.engine import Engine
from ogpu_provider.runtime.live import Live
from ogpu_provider.runtime.lives import Lives

log = structlog.get_logger()
GUARD_PAUSE_S = 60.0


class Vigil:
    """`changing` says of a source whether it is being started or taken down by us. `on_change` hears of one that ended
    by itself, or cannot be held any more.
    """

    def __init__(
        self,
        engine: Engine,
        instance: str,
        lives: Lives,
        guard: Guard | None,
        clock: Clock,
        *,
        changing: Callable[[Address], bool],
        on_change: Callable[[Address], None],
    ) -> None:
        self._engine = engine
        self._instance = instance
        self._lives = lives
        self._guard = guard
        self._clock = clock
        self._changing = changing
        self._on_change = on_change

    async def watch(self) -> None:
        """Follow the engine's events for ever, so that an ended container is known at once."""
        while True:
            try:
                async for event in self._engine.events({render.INSTANCE: self._instance}):
                    if not event.action:
                        await self._resume_watching()
                    elif live := self._lives.get(Address(event.labels.get(render.SOURCE, ""))):
                        await self._tell(live)
            except EngineError as error:
                log.warning("engine_events_lost", code=error.code, reason=str(error))
            finally:
                self._lives.watched = False
            await self._clock.sleep(1.0)

    async def keep_guard(self) -> None:
        """See every minute, for ever, that the egress rules are there. A source that cannot be held any more
        is brought up again, which is refused until it can.
        """
        while True:
            await self._clock.sleep(GUARD_PAUSE_S)
            await self._verify_guard()

    async def _resume_watching(self) -> None:
        """Look once at everything that may have ended while nobody looked; from now on memory is enough.

        An engine that started anew has made its firewall rules anew.
        """
        await self._verify_guard()
        for live in self._lives.all:
            await self._tell(live)
        self._lives.watched = True

    async def _tell(self, live: Live) -> None:
        if self._changing(live.source):
            return
        seen = await self._lives.examine(live)
        if seen.problem is not None and self._lives.get(live.source) is seen:
            log.warning("project_ended", source=live.source, code=seen.problem.code, reason=str(seen.problem))
            self._on_change(live.source)

    async def _verify_guard(self) -> None:
        if self._guard is None or not await self._guard.verify():
            return
        for source in self._lives.sources:
            if self._lives.unguarded(source):
                self._on_change(source)
