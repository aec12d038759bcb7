"""Sources' compose projects on this host's engine: the Runtime port for real.

    launch.py -> ask for openapi.json until it answers -> lives.py, watched by vigil.py -> ailment.py -> removal.py

What runs is known by its labels, so a restart of the daemon finds it again and leaves it running. Only what carries
our instance label is ever stopped or removed, and named volumes (model caches) are never removed.
"""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

import structlog

from ogpu_provider.domain.approval import ImageOffer
from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.errors import EngineError
from ogpu_provider.domain.project import Occupancy, Occupant, ProjectSpec, RunningProject
from ogpu_provider.domain.resources import Device
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.units import Address
from ogpu_provider.runtime import doors
from ogpu_provider.runtime.budget import RestartBudget
from ogpu_provider.runtime.compose import render
from ogpu_provider.runtime.compose.check import EXAMPLE
from ogpu_provider.runtime.compose.gate import admit, fingerprint
from ogpu_provider.runtime.compose.model import Gpu
from ogpu_provider.runtime.composer import Composer
from ogpu_provider.runtime.container import Container
from ogpu_provider.runtime.devicememory import OUT_OF_MEMORY, occupants
from ogpu_provider.runtime.devicetest import try_device
from ogpu_provider.runtime.egress.guard import Guard
from ogpu_provider.runtime.egress.table import Traffic
from ogpu_provider.runtime.engine import Engine
from ogpu_provider.runtime.images import Images
from ogpu_provider.runtime.launch import Launch
from ogpu_provider.runtime.live import adopted, labels_of
from ogpu_provider.runtime.lives import Lives
from ogpu_provider.runtime.logs import TaskLogs
from ogpu_provider.runtime.project_settings import ProjectSettings
from ogpu_provider.runtime.pull import Pulling
from ogpu_provider.runtime.removal import remove
from ogpu_provider.runtime.tags import TagWatch
from ogpu_provider.runtime.tenancy import own_processes, running_projects
from ogpu_provider.runtime.tidying import Tidying
from ogpu_provider.runtime.vigil import Vigil

log = structlog.get_logger()
HURRIED_S = 2
"""Seconds for a project to end that has run out of its device's memory: what it holds is missing elsewhere."""


class Projects:
    """`callback_url` gives the address where a source's containers post results. `on_change` hears of a source whose
    containers ended by themselves, while `watch` runs. `guard` holds the sources' egress rules; None: there are none.
    `learn_start` is told how many seconds a source took from its images to its first answer.

    Run as services: `watch`, `keep_guard` (see Vigil), `keep_tidy`, `tag_watch.run`.
    """

    def __init__(
        self,
        engine: Engine,
        composer: Composer,
        settings: ProjectSettings,
        images: Images,
        *,
        callback_url: Callable[[Address], str],
        clock: Clock,
        on_change: Callable[[Address], None] = lambda _source: None,
        guard: Guard | None = None,
        learn_start: Callable[[Address, float], None] = lambda _source, _seconds: None,
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._images = images
        self._stale: set[Address] = set()
        self._callback_url = callback_url
        self._clock = clock
        self._guard = guard
        self._learn_start = learn_start
        self._launch = Launch(engine, composer, settings, images, callback_url=callback_url, guard=guard)
        self._logs = TaskLogs(settings.data_dir / "logs")
        self._locks: dict[Address, asyncio.Lock] = {}
        self._budget = RestartBudget(clock, settings.restarts)
        self._lives = Lives(engine, settings, clock, self._budget, guard, on_change)
        vigil = Vigil(
            *(engine, settings.instance, self._lives, guard, clock),
            changing=lambda source: self._lock(source).locked(),
            on_change=on_change,
        )
        self.watch, self.keep_guard = vigil.watch, vigil.keep_guard
        self.contract, self.dispatch, self.health = self._lives.contract, self._lives.dispatch, self._lives.health
        self.listen = self._lives.listen
        self.tag_watch = TagWatch(images.tags, clock, lambda: self._lives.sources, every=settings.tags_every)
        self.tidying = Tidying(engine, settings, images, clock, self._keeps)

    async def device_need(
        self,
        compose: bytes,
        environment: Environment,
        waived: frozenset[str] = frozenset(),
        source: Address | None = None,
    ) -> int:
        granted = self._settings.granted.get(source, 1) if source else 1
        return admit(compose, environment, EXAMPLE, replace(self._settings.limits, granted=granted), waived).devices

    async def images(
        self, compose: bytes, environment: Environment, waived: frozenset[str] = frozenset()
    ) -> tuple[str, ...]:
        project = admit(compose, environment, EXAMPLE, self._settings.limits, waived)
        return tuple(sorted({str(service.image) for service in project.services}))

    def replaces(self, spec: ProjectSpec) -> bool:
        """See Runtime.replaces."""
        live = self._lives.get(spec.source)
        if live is None or live.problem is not None:
            return False
        other = (live.environment, live.compose_sha256) != (spec.environment, fingerprint(spec.compose))
        return other or spec.source in self._stale

    async def up(self, spec: ProjectSpec) -> None:
        """See Runtime.up. A project that serves this very spec already is left alone."""
        async with self._lock(spec.source):
            live = self._lives.get(spec.source)
            same = live and live.serves(spec, self._settings.isolation.of(spec.source))
            same = same and spec.source not in self._stale
            if live and same and not self._lives.unguarded(spec.source) and await self._lives.answers(live):
                return
            await self._remove(spec.source)
            sha256 = fingerprint(spec.compose)
            self._budget.demand(spec.source, sha256)
            self._stale.discard(spec.source)
            try:
                await self._start(spec)
            except Exception as error:
                if isinstance(error, EngineError):
                    self._budget.ended(spec.source, sha256, error)
                await self._remove(spec.source)
                raise

    async def approved(self, source: Address, digest: str = "") -> tuple[str, ...]:
        """See Runtime.approved."""
        taken = await self._images.tags.accept(source, digest)
        if taken:
            self._stale.add(source)
        return taken

    def forgive(self, source: Address) -> None:
        """See Runtime.forgive."""
        self._budget.forgive(source)

    async def keep_logs(self, source: Address, task: Address, since: float) -> None:
        containers = await self._engine.containers(self._labels(source))
        parts = []
        for container in sorted(containers, key=lambda each: each.service):
            with contextlib.suppress(EngineError):  # gone meanwhile: the others' output is still worth keeping
                output = await self._engine.logs(container.id, since=since, limit=self._logs.limit)
                parts.append((container.service, output))
        if parts:
            await self._logs.keep(task, parts)

    async def down(self, source: Address) -> None:
        """Remove containers and network, keep named volumes. Nothing there: nothing done."""
        async with self._lock(source):
            await self._remove(source)

    async def recover(self) -> list[RunningProject]:
        """Adopt what runs with our labels, untouched. What is labelled but ended is left for `up` to replace."""
        found: dict[Address, list[Container]] = {}
        for container in await self._engine.containers({render.INSTANCE: self._settings.instance}):
            if source := container.labels.get(render.SOURCE):
                found.setdefault(Address(source), []).append(container)
        await self._guard_adopted(found)
        for source, containers in found.items():
            live = adopted(source, containers)
            if live is not None and self._lives.get(source) is None:
                await self._lives.adopt(live)
        return [
            RunningProject(live.source, live.environment, live.compose_sha256, live.devices) for live in self._lives.all
        ]

    async def occupancy(self) -> Occupancy:
        """See Runtime.occupancy."""
        changing = frozenset(source for source, lock in self._locks.items() if lock.locked())
        return Occupancy(await running_projects(self._engine, self._settings.instance), changing)

    async def own(self, pids: Collection[int]) -> frozenset[int]:
        """See Runtime.own."""
        return await own_processes(self._engine, self._settings.instance, pids)

    async def occupants(self, pids: Collection[int]) -> dict[int, Occupant]:
        """See devicememory.occupants."""
        return await occupants(self._engine, self._settings.instance, pids)

    async def device_images(
        self, source: Address, compose: bytes, environment: Environment, waived: frozenset[str] = frozenset()
    ) -> tuple[str, ...]:
        """See Runtime.device_images."""
        project = admit(compose, environment, EXAMPLE, self._settings.limits, waived)
        found = [await self._images.pinned(each.image, source) for each in project.services if each.gpu is not Gpu.NONE]
        return tuple(found)

    async def test(self, device: Device) -> None:
        """See Runtime.test."""
        await try_device(self._engine, device)

    async def keep_tidy(self) -> None:
        """Remove orphans, and images of ours where the disk is nearly full; measure caches. Run as a service."""
        await self.tidying.run()

    async def read_log(self, task: Address) -> str:
        return await self._logs.read(task)

    async def count(self) -> None:
        """Have `traffic` say what it is now."""
        if self._guard is not None:
            await self._guard.count()

    def traffic(self) -> dict[Address, Traffic]:
        """Bytes by source, as of the last count; empty where no rules count them."""
        return self._guard.traffic() if self._guard is not None else {}

    async def pull_left(self, source: Address) -> int:
        """See Runtime.pull_left."""
        return await self._images.left(source)

    def pulls(self) -> Mapping[Address, tuple[Pulling, ...]]:
        """Images on their way, by the sources that wait for them."""
        return self._images.pulls()

    def offers(self) -> Mapping[Address, tuple[ImageOffer, ...]]:
        """What registries have under sources' tags by now, where that is not what runs."""
        return self._images.tags.offers()

    async def aclose(self) -> None:
        """Close connections; containers keep running."""
        await self._lives.aclose()
        await self._images.aclose()
        await self._engine.aclose()

    async def _start(self, spec: ProjectSpec) -> None:
        since = 0.0

        def pulled() -> None:
            nonlocal since
            since = self._clock.monotonic()

        live = await self._launch.start(spec, pulled)
        contract = await self._lives.ready(live)
        self._learn_start(spec.source, self._clock.monotonic() - since)
        self._lives.put(replace(live, contract=contract))
        log.info("project_up", source=spec.source, functions=sorted(contract.functions))

    async def _remove(self, source: Address) -> None:
        live = self._lives.drop(source)
        short = live is not None and live.problem is not None and live.problem.code == OUT_OF_MEMORY
        grace = min(HURRIED_S, self._settings.stop_grace) if short else self._settings.stop_grace
        await remove(self._engine, self._labels(source), grace=grace)
        if self._guard is not None:
            await self._guard.release(source)

    async def _guard_adopted(self, found: Mapping[Address, list[Container]]) -> None:
        """Also for what is not adopted: parts of it may run until `up` replaces it."""
        if self._guard is None:
            return
        running = {source: (self._callback_url(source), doors.found(each)) for source, each in found.items()}
        await self._guard.adopt(running)

    def _keeps(self, source: Address) -> bool:
        return self._lives.get(source) is not None or self._lock(source).locked()

    def _labels(self, source: Address) -> dict[str, str]:
        return labels_of(self._settings.instance, source)

    def _lock(self, source: Address) -> asyncio.Lock:
        return self._locks.setdefault(source, asyncio.Lock())
