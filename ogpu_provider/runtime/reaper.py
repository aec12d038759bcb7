"""Orphans: what carries our instance's label and belongs to no source that we run. Removed after a grace.

They come about where the engine did what was asked for after nobody waited for it any more. What is younger than the
grace may still be on its way to a source; what lacks a label of ours, or has another instance's, is never looked at.
Named volumes are no orphans: they are the caches of sources that may come back.
"""

from collections.abc import Callable

import structlog

from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.units import Address
from ogpu_provider.runtime.compose import render
from ogpu_provider.runtime.container import unix_seconds
from ogpu_provider.runtime.engine import Engine
from ogpu_provider.runtime.removal import remove_containers, remove_network

log = structlog.get_logger()
GRACE_S = 300.0


class Reaper:
    """`kept` says whether a source's things are to stay: it runs, or is being started or taken down."""

    def __init__(
        self, engine: Engine, instance: str, clock: Clock, kept: Callable[[Address], bool], *, grace_s: float = GRACE_S
    ) -> None:
        self._engine = engine
        self._labels = {render.INSTANCE: instance}
        self._clock = clock
        self._kept = kept
        self._grace_s = grace_s

    async def reap(self, *, stop_grace: int) -> int:
        """Remove the orphans that are older than the grace; returns how many containers and networks. Raises
        EngineError, and then goes on from there next time.
        """
        containers = [
            each
            for each in await self._engine.containers(self._labels)
            if self._orphaned(each.labels.get(render.SOURCE, ""), each.created_at)
        ]
        await remove_containers(self._engine, containers, grace=stop_grace)
        networks = [
            row
            for row in await self._engine.networks(self._labels)
            if self._orphaned((row.get("Labels") or {}).get(render.SOURCE, ""), unix_seconds(str(row.get("Created"))))
        ]
        for network in networks:
            await remove_network(self._engine, network["Id"])
        if found := len(containers) + len(networks):
            log.warning("orphans_removed", containers=len(containers), networks=len(networks))
            return found
        return 0

    def _orphaned(self, source: str, created_at: float) -> bool:
        """Without a source's label it is not from here; without an age it is taken to be young."""
        old = 0 < created_at <= self._clock.now() - self._grace_s
        return bool(source) and old and not self._kept(Address(source))
