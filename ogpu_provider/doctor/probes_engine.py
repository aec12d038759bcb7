"""The real container engine behind the checks' port."""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ogpu_provider.doctor.ports import EngineFacts
from ogpu_provider.domain.errors import EngineError
from ogpu_provider.domain.units import Address

if TYPE_CHECKING:
    from ogpu_provider.runtime.engine import Engine
    from ogpu_provider.runtime.trial import Outcome, Trial
    from ogpu_provider.settings import Settings

_SILENT = 10
"""Seconds; below the checks' own limits, so that a silent engine is a finding, and ends with us."""


class DockerEngine:
    """Asked once for what does not change while we look."""

    def __init__(self, settings: "Settings") -> None:
        self._settings = settings
        self._engine: Engine | None = None
        self._facts: EngineFacts | None = None
        self._lock = asyncio.Lock()

    async def facts(self) -> EngineFacts:
        async with self._lock:
            if self._facts is None:
                self._facts = facts_of(*await self._connected().details())
            return self._facts

    async def gateway(self) -> str:
        return await self._connected().bridge_gateway()

    async def compose(self) -> tuple[str, str]:
        from ogpu_provider.runtime.composer import discover

        command = await discover(self._settings.runtime.compose or None)
        return " ".join(command.words), ".".join(map(str, command.version))

    async def trial(self, trial: "Trial") -> "Outcome":
        from ogpu_provider.runtime.trial import attempt

        host = self._settings.runtime.docker_host
        if host is not None and not host.startswith("unix://"):
            raise EngineError("the engine is on another host: nothing of this one can be lent to a container there")
        return await attempt(self._connected(), trial, seconds=20.0)

    async def unheld(self) -> str:
        from ogpu_provider.runtime.compose import render
        from ogpu_provider.runtime.egress import guard

        if any(each.startswith("name=rootless") for each in (await self.facts()).security):
            return guard.ELSEWHERE
        instance = self._settings.runtime.instance
        found = await self._connected().containers({render.INSTANCE: instance})
        serving = {
            Address(each.labels[render.SOURCE]) for each in found if each.running and render.SOURCE in each.labels
        }
        return await guard.problem(instance, sorted(serving))

    async def aclose(self) -> None:
        if self._engine is not None:
            await self._engine.aclose()

    def _connected(self) -> "Engine":
        if self._engine is None:
            from ogpu_provider.runtime.engine import Engine

            self._engine = Engine(self._settings.runtime.docker_host, call_seconds=_SILENT)
        return self._engine


def facts_of(info: Mapping[str, Any], version: Mapping[str, Any]) -> EngineFacts:
    """From the engine's `info` and `version` documents; older engines leave fields out, newer ones null them."""
    parts = {str(part.get("Name", "")): part for part in version.get("Components") or ()}
    return EngineFacts(
        version=str(version.get("Version") or info.get("ServerVersion") or ""),
        api=str(version.get("ApiVersion") or ""),
        components={name: str(part.get("Version") or "") for name, part in parts.items()},
        runtimes=tuple(info.get("Runtimes") or ()),
        default_runtime=str(info.get("DefaultRuntime") or ""),
        security=tuple(info.get("SecurityOptions") or ()),
        storage_driver=str(info.get("Driver") or ""),
        root_dir=str(info.get("DockerRootDir") or ""),
        cgroup_version=str(info.get("CgroupVersion") or ""),
        memory_limit=bool(info.get("MemoryLimit")),
        pids_limit=bool(info.get("PidsLimit")),
        cpu_limit=bool(info.get("CpuCfsQuota")),
        forwarding=bool(info.get("IPv4Forwarding")),
        live_restore=bool(info.get("LiveRestoreEnabled")),
        swarm=(info.get("Swarm") or {}).get("LocalNodeState", "inactive") != "inactive",
        cdi_dirs=tuple(info.get("CDISpecDirs") or ()),
    )
