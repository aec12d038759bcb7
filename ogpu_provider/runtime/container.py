"""What the engine tells about itself, its containers and its images."""

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SERVICE_LABEL = "com.docker.compose.service"
_NANOSECONDS = re.compile(r"(\.\d{6})\d+")


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """`memory` in bytes; `runtimes` by name; `root` is where images and volumes lie, as the engine sees it.

    `name`: of the host that the engine runs on, as it sees it.
    """

    version: str
    api: str
    cpus: int
    memory: int
    runtimes: tuple[str, ...]
    default_runtime: str
    security: tuple[str, ...]
    root: str = ""
    machine: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class LocalImage:
    """`digests` are the pinned names under which the engine knows it (`repository@sha256:...`). `size` in bytes."""

    id: str
    digests: tuple[str, ...]
    size: int
    volumes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LocalVolume:
    """`size` in bytes, None where the engine does not know it."""

    name: str
    labels: Mapping[str, str]
    size: int | None


@dataclass(frozen=True, slots=True)
class Container:
    """One container as inspected; `raw` is the engine's whole answer."""

    id: str
    service: str
    labels: Mapping[str, str]
    status: str
    exit_code: int
    oom_killed: bool
    raw: Mapping[str, Any]

    @property
    def running(self) -> bool:
        return self.status in ("running", "restarting")

    @property
    def ended(self) -> bool:
        return self.status in ("exited", "dead", "removing")

    @property
    def unhealthy(self) -> bool:
        """By its own health check."""
        return ((self.raw.get("State") or {}).get("Health") or {}).get("Status") == "unhealthy"

    @property
    def created_at(self) -> float:
        """Unix seconds; 0 where the engine does not say."""
        return unix_seconds(str(self.raw.get("Created") or ""))


@dataclass(frozen=True, slots=True)
class EngineEvent:
    """Something happened to a container: `action` is die, oom or `health_status: unhealthy`."""

    action: str
    container: str
    labels: Mapping[str, str]


def container_of(raw: Mapping[str, Any]) -> Container:
    state = raw.get("State") or {}
    labels = (raw.get("Config") or {}).get("Labels") or {}
    return Container(
        id=raw["Id"],
        service=labels.get(SERVICE_LABEL, ""),
        labels=labels,
        status=str(state.get("Status", "")),
        exit_code=int(state.get("ExitCode", 0)),
        oom_killed=bool(state.get("OOMKilled")),
        raw=raw,
    )


def image_of(raw: Mapping[str, Any]) -> LocalImage:
    volumes = tuple((raw.get("Config") or {}).get("Volumes") or ())
    return LocalImage(raw["Id"], tuple(raw.get("RepoDigests") or ()), int(raw.get("Size", 0)), volumes)


def volume_of(raw: Mapping[str, Any]) -> LocalVolume:
    size = (raw.get("UsageData") or {}).get("Size", -1)
    return LocalVolume(str(raw["Name"]), raw.get("Labels") or {}, size if size >= 0 else None)


def info_of(info: Mapping[str, Any], version: Mapping[str, Any]) -> EngineInfo:
    return EngineInfo(
        version=str(version.get("Version", "")),
        api=str(version.get("ApiVersion", "")),
        cpus=int(info.get("NCPU", 1)),
        memory=int(info.get("MemTotal", 0)),
        runtimes=tuple(info.get("Runtimes") or ()),
        default_runtime=str(info.get("DefaultRuntime", "")),
        security=tuple(info.get("SecurityOptions") or ()),
        root=str(info.get("DockerRootDir") or ""),
        machine=str(info.get("Architecture") or ""),
        name=str(info.get("Name") or ""),
    )


def unix_seconds(text: str) -> float:
    """Of the engine's RFC 3339 times, which have nanoseconds; 0 if it is none."""
    try:
        return datetime.datetime.fromisoformat(_NANOSECONDS.sub(r"\1", text)).timestamp()
    except ValueError:
        return 0.0
