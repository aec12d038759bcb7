"""Sources' compose projects on this host's engine: the Runtime port for real.

    launch (launch.py) -> ask for openapi.json until it answers -> live (live.py) -> ailing (ailment.py) -> removal.py

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
from ogpu_provider.domain.errors import DispatchError, EngineError, Retry
from ogpu_provider.domain.project import Occupancy, Occupant, ProjectSpec, RunningProject
from ogpu_provider.domain.resources import Device
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.units import Address
from ogpu_provider.runtime import doors
from ogpu_provider.runtime.ailment import ailment
from ogpu_provider.runtime.budget import RestartBudget
from ogpu_provider.runtime.compose import render
from ogpu_provider.runtime.compose.check import EXAMPLE
from ogpu_provider.runtime.compose.gate import admit, fingerprint
from ogpu_provider.runtime.compose.model import Gpu
from ogpu_provider.runtime.composer import Composer
from ogpu_provider.runtime.container import Container
from ogpu_provider.runtime.contract import OpenApiContract
from ogpu_provider.runtime.devicememory import OUT_OF_MEMORY, complaint, occupants
from ogpu_provider.runtime.devicetest import try_device
from ogpu_provider.runtime.dispatch import SourceClient
from ogpu_provider.runtime.egress.guard import Guard
from ogpu_provider.runtime.egress.table import Traffic
from ogpu_provider.runtime.engine import Engine
from ogpu_provider.runtime.images import Images
from ogpu_provider.runtime.launch import Launch
from ogpu_provider.runtime.live import Live, adopted, labels_of
from ogpu_provider.runtime.logs import TaskLogs
from ogpu_provider.runtime.project_settings import ProjectSettings
from ogpu_provider.runtime.pull import Pulling
from ogpu_provider.runtime.removal import remove
from ogpu_provider.runtime.tags import TagWatch
from ogpu_provider.runtime.tenancy import own_processes, running_projects
from ogpu_provider.runtime.tidying import Tidying

log = structlog.get_logger()
GUARD_PAUSE_S = 60.0
HURRIED_S = 2
"""Seconds for a project to end that has run out of its device's memory: what it holds is missing elsewhere."""


class Projects:
    """`callback_url` gives the address where a source's containers post results. `on_change` hears of a source whose
    containers ended by themselves, while `watch` runs. `guard` holds the sources' egress rules; None: there are none.
    `learn_start` is told how many seconds a source took from its images to its first answer.
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
        self._on_change = on_change
        self._guard = guard
        self._learn_start = learn_start
        self._launch = Launch(engine, composer, settings, images, callback_url=callback_url, guard=guard)
        self._client = SourceClient(settings.dispatch_host, settings.dispatch_timeout)
        self._logs = TaskLogs(settings.data_dir / "logs")
        self._live: dict[Address, Live] = {}
        self._locks: dict[Address, asyncio.Lock] = {}
        self._watching = False
        self._budget = RestartBudget(clock, settings.restarts)
        self.tag_watch = TagWatch(images.tags, clock, lambda: tuple(self._live), every=settings.tags_every)
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
        live = self._live.get(spec.source)
        if live is None or live.problem is not None:
            return False
        other = (live.environment, live.compose_sha256) != (spec.environment, fingerprint(spec.compose))
        return other or spec.source in self._stale

    async def up(self, spec: ProjectSpec) -> None:
        """See Runtime.up. A project that serves this very spec already is left alone."""
        async with self._lock(spec.source):
            live = self._live.get(spec.source)
            same = live and live.serves(spec, self._settings.isolation.of(spec.source))
            same = same and spec.source not in self._stale
            if live and same and not self._unguarded(spec.source) and await self._answers(live):
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

    async def contract(self, source: Address) -> OpenApiContract | None:
        live = self._live.get(source)
        if live is None or live.contract is not None:
            return live.contract if live else None
        with contextlib.suppress(EngineError):
            contract = await self._client.contract(live.port)
            if contract and (now := self._live.get(source)) and now.port == live.port:
                self._live[source] = replace(now, contract=contract)
            return contract
        return None

    async def dispatch(self, source: Address, task: Address, function: str, data: str) -> None:
        live = self._live.get(source)
        if live is None:
            raise DispatchError("the source's project is not up", code="dispatch.unreachable", retry=Retry.LATER)
        if live.contract and function not in live.contract.functions:
            text = f"the source has no function {function[:80]!r}"
            raise DispatchError(text, code="dispatch.rejected", retry=Retry.NEVER)
        await self._client.run(live.port, function, task, data)

    async def health(self, source: Address) -> None:
        """From memory while the engine's events are followed; otherwise the engine is asked."""
        live = self._live.get(source)
        if live is None:
            raise EngineError("the source's project is not up", code="engine.not_up", retry=Retry.LATER)
        if not self._watching and live.problem is None:
            live = await self._examine(live)
        if live.problem is not None:
            raise live.problem
        if reason := self._unguarded(source):
            raise EngineError(f"egress is not held: {reason}", code="engine.unfiltered", retry=Retry.LATER)

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
            if live is not None and source not in self._live:
                contract = None
                with contextlib.suppress(EngineError):
                    contract = await self._client.contract(live.port)
                self._live[source] = replace(live, contract=contract)
                log.info("project_adopted", source=source, answers=contract is not None)
        return [
            RunningProject(live.source, live.environment, live.compose_sha256, live.devices)
            for live in self._live.values()
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

    async def listen(self, source: Address, since: float) -> None:
        """Hear whether a source's containers have run out of their device's memory since then: it is ailing then."""
        live = self._live.get(source)
        if live is None or live.problem is not None:
            return
        problem = await complaint(self._engine, self._labels(source), since)
        if problem is not None and self._live.get(source) is live:
            self._live[source] = replace(live, problem=problem)
            log.warning("device_memory_short", source=source, reason=str(problem))
            self._on_change(source)

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

    async def watch(self) -> None:
        """Follow the engine's events for ever, so that an ended container is known at once. Run as a service."""
        while True:
            try:
                async for event in self._engine.events({render.INSTANCE: self._settings.instance}):
                    if not event.action:
                        await self._resume_watching()
                    elif live := self._live.get(Address(event.labels.get(render.SOURCE, ""))):
                        await self._tell(live)
            except EngineError as error:
                log.warning("engine_events_lost", code=error.code, reason=str(error))
            finally:
                self._watching = False
            await self._clock.sleep(1.0)

    async def keep_guard(self) -> None:
        """See every minute that the egress rules are there. Run as a service. A source that cannot be held any more
        is brought up again, which is refused until it can.
        """
        while True:
            await self._clock.sleep(GUARD_PAUSE_S)
            await self._verify_guard()

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
        await self._client.aclose()
        await self._images.aclose()
        await self._engine.aclose()

    async def _start(self, spec: ProjectSpec) -> None:
        since = 0.0

        def pulled() -> None:
            nonlocal since
            since = self._clock.monotonic()

        live = await self._launch.start(spec, pulled)
        contract = await self._ready(live)
        self._learn_start(spec.source, self._clock.monotonic() - since)
        self._live[spec.source] = replace(live, contract=contract)
        log.info("project_up", source=spec.source, functions=sorted(contract.functions))

    async def _ready(self, live: Live) -> OpenApiContract:
        """Wait for the container's own server; a port that merely accepts connections says nothing."""
        give_up = self._clock.monotonic() + self._settings.ready_timeout
        pause = 0.05
        while True:
            contract = await self._client.contract(live.port)
            if contract is not None:
                return contract
            problem = await ailment(self._engine, self._labels(live.source))
            if problem is not None:
                raise problem
            if self._clock.monotonic() >= give_up:
                text = f"no answer on /openapi.json within {self._settings.ready_timeout:g} s"
                raise EngineError(text, code="engine.never_ready", retry=Retry.LATER)
            await self._clock.sleep(pause)
            pause = min(pause * 1.5, 1.0)

    async def _answers(self, live: Live) -> bool:
        """Whether an adopted or running project is good; waits for one that is still loading."""
        try:
            if (problem := (await self._examine(live)).problem) is not None:
                self._budget.ended(live.source, live.compose_sha256, problem)
                return False
            contract = live.contract or await self._ready(live)
        except EngineError as error:
            if error.code == "engine.unreachable":
                raise
            return False
        self._live[live.source] = replace(live, contract=contract, problem=None)
        return True

    async def _examine(self, live: Live) -> Live:
        problem = await ailment(self._engine, self._labels(live.source))
        current = self._live.get(live.source)
        seen = replace(current if current and current.port == live.port else live, problem=problem)
        if current and current.port == live.port:
            self._live[live.source] = seen
        return seen

    async def _resume_watching(self) -> None:
        """Look once at everything that may have ended while nobody looked; from now on memory is enough.

        An engine that started anew has made its firewall rules anew.
        """
        await self._verify_guard()
        for live in list(self._live.values()):
            await self._tell(live)
        self._watching = True

    async def _tell(self, live: Live) -> None:
        if self._lock(live.source).locked():
            return  # being started or taken down by us
        seen = await self._examine(live)
        if seen.problem is not None and self._live.get(live.source) is seen:
            log.warning("project_ended", source=live.source, code=seen.problem.code, reason=str(seen.problem))
            self._on_change(live.source)

    async def _remove(self, source: Address) -> None:
        live = self._live.pop(source, None)
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

    async def _verify_guard(self) -> None:
        if self._guard is None or not await self._guard.verify():
            return
        for source in tuple(self._live):
            if self._unguarded(source):
                self._on_change(source)

    def _unguarded(self, source: Address) -> str:
        return self._guard.trouble(source) if self._guard is not None else ""

    def _keeps(self, source: Address) -> bool:
        return source in self._live or self._lock(source).locked()

    def _labels(self, source: Address) -> dict[str, str]:
        return labels_of(self._settings.instance, source)

    def _lock(self, source: Address) -> asyncio.Lock:
        return self._locks.setdefault(source, asyncio.Lock())
