"""Sources' compose projects on this host's engine: the Runtime port for real.

    up: gate -> pin and pull images -> create -> compare with the plan -> start -> ask for openapi.json until it answers

What runs is known by its labels, so a restart of the daemon finds it again and leaves it running. Only what carries
our instance label is ever stopped or removed, and named volumes (model caches) are never removed.
"""

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import structlog

from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.errors import DispatchError, EngineError, Retry
from ogpu_provider.domain.project import ProjectSpec, RunningProject
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.units import Address
from ogpu_provider.runtime.compose import render
from ogpu_provider.runtime.compose.check import EXAMPLE
from ogpu_provider.runtime.compose.gate import admit, fingerprint
from ogpu_provider.runtime.compose.interpolation import Variables
from ogpu_provider.runtime.compose.model import Project
from ogpu_provider.runtime.compose.policy import Limits
from ogpu_provider.runtime.composer import Composer
from ogpu_provider.runtime.container import Container
from ogpu_provider.runtime.contract import OpenApiContract
from ogpu_provider.runtime.dispatch import SourceClient
from ogpu_provider.runtime.egress.guard import Guard
from ogpu_provider.runtime.egress.rules import Endpoint, bridge_name
from ogpu_provider.runtime.engine import Engine
from ogpu_provider.runtime.images import pin
from ogpu_provider.runtime.isolation import Isolation, IsolationSettings, demand
from ogpu_provider.runtime.logs import TaskLogs
from ogpu_provider.runtime.reaper import GRACE_S, Reaper
from ogpu_provider.runtime.removal import remove
from ogpu_provider.runtime.verify import deviations

log = structlog.get_logger()
GUARD_PAUSE_S = REAPER_PAUSE_S = 60.0
_LABELS = {environment.label: environment for environment in Environment}


@dataclass(frozen=True, slots=True)
class ProjectSettings:
    """`instance` tells daemons on one engine apart. Times in seconds. `provider`: our address, shown to sources."""

    instance: str
    data_dir: Path
    provider: Address
    ready_timeout: float = 300.0
    pull_timeout: float = 1800.0
    start_timeout: float = 120.0
    stop_grace: int = 10
    orphan_grace: float = GRACE_S
    dispatch_host: str = "127.0.0.1"
    limits: Limits = field(default_factory=Limits)
    isolation: IsolationSettings = field(default_factory=IsolationSettings)


@dataclass(frozen=True, slots=True)
class _Live:
    """A project that we started or adopted."""

    source: Address
    environment: Environment
    compose_sha256: str
    devices: tuple[str, ...]
    port: int
    contract: OpenApiContract | None = None
    problem: EngineError | None = None
    isolation: str = Isolation.HARDENED

    def serves(self, spec: ProjectSpec, isolation: str) -> bool:
        wanted = tuple(device.id for device in spec.devices)
        same = (self.environment, self.compose_sha256, self.devices, self.isolation)
        return same == (spec.environment, fingerprint(spec.compose), wanted, isolation)


class Projects:
    """`callback_url` gives the address where a source's containers post results. `on_change` hears of a source whose
    containers ended by themselves, while `watch` runs. `guard` holds the sources' egress rules; None: there are none.
    """

    def __init__(
        self,
        engine: Engine,
        composer: Composer,
        settings: ProjectSettings,
        *,
        callback_url: Callable[[Address], str],
        clock: Clock,
        on_change: Callable[[Address], None] = lambda _source: None,
        guard: Guard | None = None,
    ) -> None:
        self._engine = engine
        self._composer = composer
        self._settings = settings
        self._callback_url = callback_url
        self._clock = clock
        self._on_change = on_change
        self._guard = guard
        self._client = SourceClient(settings.dispatch_host)
        self._logs = TaskLogs(settings.data_dir / "logs")
        self._live: dict[Address, _Live] = {}
        self._locks: dict[Address, asyncio.Lock] = {}
        self._limits: Limits | None = None
        self._watching = False
        self._reaper = Reaper(engine, settings.instance, clock, self._keeps, grace_s=settings.orphan_grace)

    async def device_need(self, compose: bytes, environment: Environment, waived: frozenset[str] = frozenset()) -> int:
        return admit(compose, environment, EXAMPLE, self._settings.limits, waived).devices

    async def images(
        self, compose: bytes, environment: Environment, waived: frozenset[str] = frozenset()
    ) -> tuple[str, ...]:
        project = admit(compose, environment, EXAMPLE, self._settings.limits, waived)
        return tuple(sorted({str(service.image) for service in project.services}))

    async def up(self, spec: ProjectSpec) -> None:
        """See Runtime.up. A project that serves this very spec already is left alone."""
        async with self._lock(spec.source):
            live = self._live.get(spec.source)
            same = live and live.serves(spec, self._settings.isolation.of(spec.source))
            if live and same and not self._unguarded(spec.source) and await self._answers(live):
                return
            await self._remove(spec.source)
            try:
                await self._start(spec)
            except Exception:
                await self._remove(spec.source)
                raise

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
            live = _adopted(source, containers)
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
        """Remove orphans every minute. Run as a service."""
        while True:
            await self._clock.sleep(REAPER_PAUSE_S)
            with contextlib.suppress(EngineError):  # the engine does not answer: next time
                await self.reap()

    async def reap(self) -> int:
        """Remove what carries our label, belongs to no source that we run, and is older than the grace."""
        return await self._reaper.reap(stop_grace=self._settings.stop_grace)

    async def read_log(self, task: Address) -> str:
        return await self._logs.read(task)

    async def aclose(self) -> None:
        """Close connections; containers keep running."""
        await self._client.aclose()
        await self._engine.aclose()

    async def _start(self, spec: ProjectSpec) -> None:
        isolation = self._settings.isolation.of(spec.source)
        engine = await self._engine.info()
        demand(isolation, engine.runtimes, engine.security)
        limits = await self._host_limits()
        variables = Variables(
            port=free_port(self._settings.dispatch_host),
            callback_url=self._callback_url(spec.source),
            source=spec.source,
            provider=self._settings.provider,
        )
        project = admit(spec.compose, spec.environment, variables, limits, spec.waived)
        self._check_binds(project)
        if len(spec.devices) < project.devices:
            text = f"the project needs {project.devices} devices, {len(spec.devices)} are granted"
            raise EngineError(text, code="engine.devices", retry=Retry.LATER)
        images = await self._pin(spec.source, project)
        plan = render.render(project, await self._grant(spec, variables, images, limits))
        if self._guard is not None:
            ports = [port for service in plan.services.values() for port in service.get("ports", ())]
            published = [(port["host_ip"], port["published"], port["protocol"]) for port in ports]
            await self._guard.admit(spec.source, variables.callback_url, _reachable(published))
        await self._create(plan, spec.source, images)
        await self._compose(plan, "up", "--detach", "--no-build", "--pull", "never", "--no-recreate")
        devices = tuple(device.id for device in spec.devices)
        live = _Live(
            spec.source, spec.environment, fingerprint(spec.compose), devices, variables.port, isolation=isolation
        )
        contract = await self._ready(live)
        self._live[spec.source] = replace(live, contract=contract)
        log.info("project_up", source=spec.source, functions=sorted(contract.functions))

    def _check_binds(self, project: Project) -> None:
        """A waived directory is where it seems to be, and is not ours. Raises EngineError (`engine.bind`)."""
        for source in {bind.source for service in project.services for bind in service.binds}:
            real = Path(source).resolve()
            ours = self._settings.data_dir.resolve()
            if str(real) != source or not real.is_dir() or real.is_relative_to(ours) or ours.is_relative_to(real):
                text = f"{source} is no directory, a link, or holds the provider's own data"
                raise EngineError(text, code="engine.bind", retry=Retry.LATER, remedy="make it a directory of its own")

    async def _grant(
        self, spec: ProjectSpec, variables: Variables, images: Mapping[str, str], limits: Limits
    ) -> render.Grant:
        return render.Grant(
            instance=self._settings.instance,
            source=spec.source,
            environment=spec.environment,
            compose_sha256=fingerprint(spec.compose),
            variables=variables,
            images=images,
            dispatch_host=self._settings.dispatch_host,
            gateway=await self._engine.bridge_gateway(),
            devices=spec.devices,
            limits=limits,
            isolation=self._settings.isolation.of(spec.source),
        )

    async def _pin(self, source: Address, project: Project) -> dict[str, str]:
        pinned: dict[str, str] = {}
        for service in project.services:
            name = str(service.image)
            if name in pinned:
                continue

            def tell(line: str, image: str = name) -> None:
                log.info("image_pulling", source=source, image=image, progress=line)

            pinned[name] = await pin(self._engine, service.image, seconds=self._settings.pull_timeout, progress=tell)
        return pinned

    async def _create(self, plan: render.Plan, source: Address, images: Mapping[str, str]) -> None:
        """Containers made, not started, and compared with the plan."""
        directory = self._directory(plan.name)
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        await asyncio.to_thread((directory / "compose.json").write_bytes, plan.text)
        await self._compose(plan, "create", "--no-build", "--pull", "never")
        ids = {}
        for reference in set(images.values()):
            image = await self._engine.image(reference)
            ids[reference] = image.id if image else ""
        found = deviations(plan, await self._engine.containers(self._labels(source)), ids)
        if self._guard is not None:
            network = await self._engine.network(f"{plan.name}_default")
            options = network.get("Options") or {}
            if options.get(render.BRIDGE_OPTION) != bridge_name(self._settings.instance, source):
                found = (*found, "its network has another bridge than its egress rules")
        if found:
            text = f"the engine made something else than was asked for: {'; '.join(found[:5])}"
            raise EngineError(text, code="engine.unverified", retry=Retry.NEVER)

    async def _compose(self, plan: render.Plan, *arguments: str) -> None:
        seconds = self._settings.start_timeout if arguments[0] == "create" else self._settings.ready_timeout
        await self._composer.run(plan.name, self._directory(plan.name), *arguments, seconds=seconds)

    async def _ready(self, live: _Live) -> OpenApiContract:
        """Wait for the container's own server; a port that merely accepts connections says nothing."""
        give_up = self._clock.monotonic() + self._settings.ready_timeout
        pause = 0.05
        while True:
            contract = await self._client.contract(live.port)
            if contract is not None:
                return contract
            problem = await self._problem(live.source)
            if problem is not None:
                raise problem
            if self._clock.monotonic() >= give_up:
                text = f"no answer on /openapi.json within {self._settings.ready_timeout:g} s"
                raise EngineError(text, code="engine.never_ready", retry=Retry.LATER)
            await self._clock.sleep(pause)
            pause = min(pause * 1.5, 1.0)

    async def _answers(self, live: _Live) -> bool:
        """Whether an adopted or running project is good; waits for one that is still loading."""
        try:
            if (await self._examine(live)).problem is not None:
                return False
            contract = live.contract or await self._ready(live)
        except EngineError as error:
            if error.code == "engine.unreachable":
                raise
            return False
        self._live[live.source] = replace(live, contract=contract, problem=None)
        return True

    async def _examine(self, live: _Live) -> _Live:
        problem = await self._problem(live.source)
        current = self._live.get(live.source)
        seen = replace(current if current and current.port == live.port else live, problem=problem)
        if current and current.port == live.port:
            self._live[live.source] = seen
        return seen

    async def _problem(self, source: Address) -> EngineError | None:
        containers = await self._engine.containers(self._labels(source))
        for container in containers:
            called = container.labels.get(render.TARGET) == "yes"
            if container.running and container.unhealthy:
                text = f"{container.service} fails its own health check"
                return EngineError(text, code="engine.unhealthy", retry=Retry.LATER)
            if not container.ended or (container.exit_code == 0 and not called and not container.oom_killed):
                continue
            text = f"{container.service} ended with exit code {container.exit_code}"
            if container.oom_killed:
                return EngineError(f"{text}: out of memory", code="engine.oom", retry=Retry.LATER)
            said = await self._last_words(container)
            return EngineError(f"{text}{said}", code="engine.exited", retry=Retry.LATER)
        if not any(container.labels.get(render.TARGET) == "yes" for container in containers):
            return EngineError("the container is gone", code="engine.gone", retry=Retry.LATER)
        return None

    async def _last_words(self, container: Container) -> str:
        with contextlib.suppress(EngineError):
            output = await self._engine.logs(container.id, since=0, limit=600)
            lines = output.decode(errors="replace").strip().splitlines()[-3:]
            text = " | ".join(line.partition(" ")[2] for line in lines)
            return ": " + "".join(c if c.isprintable() else " " for c in text)[-300:] if text else ""
        return ""

    async def _resume_watching(self) -> None:
        """Look once at everything that may have ended while nobody looked; from now on memory is enough.

        An engine that started anew has made its firewall rules anew.
        """
        await self._verify_guard()
        for live in list(self._live.values()):
            await self._tell(live)
        self._watching = True

    async def _tell(self, live: _Live) -> None:
        if self._lock(live.source).locked():
            return  # being started or taken down by us
        seen = await self._examine(live)
        if seen.problem is not None and self._live.get(live.source) is seen:
            log.warning("project_ended", source=live.source, code=seen.problem.code, reason=str(seen.problem))
            self._on_change(live.source)

    async def _remove(self, source: Address) -> None:
        self._live.pop(source, None)
        await remove(self._engine, self._labels(source), grace=self._settings.stop_grace)
        if self._guard is not None:
            await self._guard.release(source)

    async def _guard_adopted(self, found: Mapping[Address, list[Container]]) -> None:
        """Also for what is not adopted: parts of it may run until `up` replaces it."""
        if self._guard is None:
            return
        running = {}
        for source, containers in found.items():
            bindings = [each.raw.get("HostConfig", {}).get("PortBindings") or {} for each in containers]
            published = [
                (row.get("HostIp", ""), row.get("HostPort", ""), name.partition("/")[2])
                for each in bindings
                for name, rows in each.items()
                for row in rows or ()
            ]
            running[source] = (self._callback_url(source), _reachable(published))
        await self._guard.adopt(running)

    async def _verify_guard(self) -> None:
        if self._guard is None or not await self._guard.verify():
            return
        for source in tuple(self._live):
            if self._unguarded(source):
                self._on_change(source)

    def _unguarded(self, source: Address) -> str:
        return self._guard.trouble(source) if self._guard is not None else ""

    async def _host_limits(self) -> Limits:
        """Never more than the host has: the engine refuses to start what asks for more processors."""
        if self._limits is None:
            info = await self._engine.info()
            limits = self._settings.limits
            memory = min(limits.memory, info.memory) if info.memory else limits.memory
            self._limits = replace(limits, cpus=min(limits.cpus, float(info.cpus)), memory=memory)
        return self._limits

    def _keeps(self, source: Address) -> bool:
        return source in self._live or self._lock(source).locked()

    def _labels(self, source: Address) -> dict[str, str]:
        return {render.INSTANCE: self._settings.instance, render.SOURCE: source}

    def _directory(self, name: str) -> Path:
        return self._settings.data_dir / "projects" / name

    def _lock(self, source: Address) -> asyncio.Lock:
        return self._locks.setdefault(source, asyncio.Lock())


def free_port(host: str) -> int:
    """A port that is free now. Nothing holds it until the engine binds it; losing that race is a failed start."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def _reachable(published: Iterable[tuple[str, str, str]]) -> list[Endpoint]:
    """What a source's containers may call of their own published ports: those that are not on loopback."""
    return [
        Endpoint(host, int(port), protocol)
        for host, port, protocol in published
        if port.isdigit() and not ipaddress.ip_address(host or "0.0.0.0").is_loopback  # noqa: S104 - only compared
    ]


def _adopted(source: Address, containers: list[Container]) -> _Live | None:
    """What the labels of a running project say; None if its called service does not run or a label is missing."""
    target = next((each for each in containers if each.labels.get(render.TARGET) == "yes" and each.running), None)
    if target is None:
        return None
    labels = target.labels
    environment = _LABELS.get(labels.get(render.ENVIRONMENT, ""))
    port = labels.get(render.PORT, "")
    if environment is None or not port.isdigit() or not labels.get(render.SHA256):
        return None
    devices = tuple(filter(None, labels.get(render.DEVICES, "").split(",")))
    isolation = labels.get(render.ISOLATION, "")
    return _Live(source, environment, labels[render.SHA256], devices, int(port), isolation=isolation)
