"""What of a compose file survives the gate: closed, typed, nothing in it reaches the host."""

from dataclasses import dataclass
from enum import StrEnum

from ogpu_provider.runtime.compose.quantities import Image

SERVICE_PORT = 5555
"""Container port of the service contract; the one service that publishes it is called."""


class Gpu(StrEnum):
    """How a service asked for devices. It gets the leased ones, whatever it named."""

    NONE = "none"
    NVIDIA = "nvidia"
    AMD = "amd"


@dataclass(frozen=True, slots=True)
class Port:
    """`host` is None where the author left it to the engine."""

    container: int
    host: int | None
    protocol: str = "tcp"


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume of the project, mounted. `anonymous`: the name is ours, for the author gave none."""

    name: str
    target: str
    read_only: bool = False
    anonymous: bool = False


@dataclass(frozen=True, slots=True)
class Bind:
    """A directory of the host, which only a waiver gives."""

    source: str
    target: str
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Tmpfs:
    """Size in bytes."""

    target: str
    size: int
    mode: str = ""


@dataclass(frozen=True, slots=True)
class Healthcheck:
    """Times in seconds. `test` as compose writes it; empty where the author turned it off."""

    test: tuple[str, ...]
    interval: float = 30.0
    timeout: float = 30.0
    retries: int = 3
    start_period: float = 0.0


@dataclass(frozen=True, slots=True)
class Dependency:
    service: str
    condition: str = "service_started"
    required: bool = True


@dataclass(frozen=True, slots=True)
class Service:
    """One container. `command` and `entrypoint`: None not given, text for compose to split, or words."""

    name: str
    image: Image
    line: int = 0
    command: str | tuple[str, ...] | None = None
    entrypoint: str | tuple[str, ...] | None = None
    environment: tuple[tuple[str, str], ...] = ()
    working_dir: str = ""
    user: str = ""
    hostname: str = ""
    platform: str = ""
    expose: tuple[str, ...] = ()
    ports: tuple[Port, ...] = ()
    volumes: tuple[Volume, ...] = ()
    binds: tuple[Bind, ...] = ()
    tmpfs: tuple[Tmpfs, ...] = ()
    depends_on: tuple[Dependency, ...] = ()
    aliases: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    healthcheck: Healthcheck | None = None
    read_only: bool = False
    stop_signal: str = ""
    stop_grace: float = 10.0
    tty: bool = False
    stdin_open: bool = False
    retries: int = 0
    gpu: Gpu = Gpu.NONE
    gpu_count: int = 0
    memory: int | None = None
    cpus: float | None = None
    pids: int | None = None
    shm: int | None = None
    optional: bool = False

    @property
    def published(self) -> bool:
        return any(port.container == SERVICE_PORT and port.protocol == "tcp" for port in self.ports)


@dataclass(frozen=True, slots=True)
class Project:
    """An admitted file. `target` is the service to call; `devices` how many the project needs."""

    services: tuple[Service, ...]
    volumes: tuple[str, ...]
    target: str
    devices: int
