"""The start of a project, up to running containers.

gate -> pin and pull images -> render -> egress rules -> create -> compare with the plan -> start
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import structlog

from ogpu_provider.domain.errors import EngineError, Retry
from ogpu_provider.domain.project import ProjectSpec
from ogpu_provider.domain.units import Address
from ogpu_provider.runtime import doors
from ogpu_provider.runtime.compose import render
from ogpu_provider.runtime.compose.allowlist import strays
from ogpu_provider.runtime.compose.gate import admit, fingerprint
from ogpu_provider.runtime.compose.interpolation import Variables
from ogpu_provider.runtime.compose.model import Project
from ogpu_provider.runtime.compose.opinion import differences
from ogpu_provider.runtime.compose.policy import Limits
from ogpu_provider.runtime.composer import Composer
from ogpu_provider.runtime.egress.guard import Guard
from ogpu_provider.runtime.egress.rules import bridge_name
from ogpu_provider.runtime.engine import Engine
from ogpu_provider.runtime.images import Images
from ogpu_provider.runtime.isolation import demand
from ogpu_provider.runtime.live import Live, labels_of
from ogpu_provider.runtime.project_settings import ProjectSettings
from ogpu_provider.runtime.verify import deviations

log = structlog.get_logger()


class Launch:
    """`guard`: see Projects."""

    def __init__(
        self,
        engine: Engine,
        composer: Composer,
        settings: ProjectSettings,
        images: Images,
        *,
        callback_url: Callable[[Address], str],
        guard: Guard | None = None,
    ) -> None:
        self._engine = engine
        self._composer = composer
        self._settings = settings
        self._images = images
        self._callback_url = callback_url
        self._guard = guard
        self._limits: Limits | None = None

    async def start(self, spec: ProjectSpec, pulled: Callable[[], None] = lambda: None) -> Live:
        """A project whose containers run; whether it answers is to be seen. What is made before a failure stays.
        `pulled` is called when its images are there.

        Raises ComposeRefused or EngineError.
        """
        isolation = self._settings.isolation.of(spec.source)
        engine = await self._engine.info()
        demand(isolation, engine.runtimes, engine.security)
        limits = replace(await self._host_limits(), granted=max(1, len(spec.devices)))
        variables = Variables(
            port=doors.free_port(self._settings.dispatch_host),
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
        pulled()
        plan = render.render(project, await self._grant(spec, variables, images, limits))
        await self._consult(plan)
        if self._guard is not None:
            await self._guard.admit(spec.source, variables.callback_url, doors.planned(plan))
        await self._create(plan, spec.source, images)
        await self._compose(plan, "up", "--detach", "--no-build", "--pull", "never", "--no-recreate")
        devices = tuple(device.id for device in spec.devices)
        return Live(
            spec.source, spec.environment, fingerprint(spec.compose), devices, variables.port, isolation=isolation
        )

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

            pinned[name] = await self._images.pin(service.image, source, tell)
        await self._images.tags.named(source, pinned)
        return pinned

    async def _consult(self, plan: render.Plan) -> None:
        """Write the rendered file, and refuse it if compose understands it otherwise than we do."""
        directory = self._directory(plan)
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        await asyncio.to_thread((directory / "compose.json").write_bytes, plan.text)
        opinion = await self._composer.read(plan.name, directory)
        if found := (*differences(plan, opinion), *strays(opinion)):
            text = f"compose understands the rendered file otherwise: {'; '.join(found[:5])}"
            raise EngineError(text, code="engine.second_opinion", retry=Retry.NEVER)

    async def _create(self, plan: render.Plan, source: Address, images: Mapping[str, str]) -> None:
        """Containers made, not started, and compared with the plan."""
        await self._compose(plan, "create", "--no-build", "--pull", "never")
        ids = {}
        for reference in set(images.values()):
            image = await self._engine.image(reference)
            ids[reference] = image.id if image else ""
        found = deviations(plan, await self._engine.containers(labels_of(self._settings.instance, source)), ids)
        if self._guard is not None:
            network = await self._engine.network(f"{plan.name}_default")
            options = network.get("Options") or {}
            if options.get(render.BRIDGE_OPTION) != bridge_name(self._settings.instance, source):
                found = (*found, "its network has another bridge than its egress rules")
            self._guard.expect(source)
        if found:
            text = f"the engine made something else than was asked for: {'; '.join(found[:5])}"
            raise EngineError(text, code="engine.unverified", retry=Retry.NEVER)

    async def _compose(self, plan: render.Plan, *arguments: str) -> None:
        seconds = self._settings.start_timeout if arguments[0] == "create" else self._settings.ready_timeout
        await self._composer.run(plan.name, self._directory(plan), *arguments, seconds=seconds)

    def _directory(self, plan: render.Plan) -> Path:
        return self._settings.data_dir / "projects" / plan.name

    async def _host_limits(self) -> Limits:
        """Never more than the host has: the engine refuses to start what asks for more processors."""
        if self._limits is None:
            info = await self._engine.info()
            limits = self._settings.limits
            memory = min(limits.memory, info.memory) if info.memory else limits.memory
            self._limits = replace(limits, cpus=min(limits.cpus, float(info.cpus)), memory=memory)
        return self._limits
