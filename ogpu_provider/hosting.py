"""What runs sources on this host, and where their results arrive, built from the settings."""

import os
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ogpu_provider import policies
from ogpu_provider.assembly import open_images
from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.units import Address
from ogpu_provider.pipeline.results import ResultSink
from ogpu_provider.runtime.callback.limits import CallbackLimits
from ogpu_provider.runtime.callback.server import CallbackServer, not_here
from ogpu_provider.runtime.composer import Composer, discover
from ogpu_provider.runtime.egress.guard import Guard
from ogpu_provider.runtime.engine import Engine
from ogpu_provider.runtime.processes import Processes
from ogpu_provider.runtime.projects import Projects
from ogpu_provider.settings import Settings


@dataclass(frozen=True, slots=True)
class Host:
    """What a runtime needs of the daemon that it works for. `learn_rate` is told the bytes a second of each pull,
    `learn_start` the seconds of each start.
    """

    engine: Engine
    provider: Address
    clock: Clock
    callback_url: Callable[[Address], str]
    project_changed: Callable[[Address], None]
    learn_rate: Callable[[float], None] = lambda _rate: None
    learn_start: Callable[[Address, float], None] = lambda _source, _seconds: None


OpenRuntime = Callable[[Host], Projects | Processes]


async def open_runtime(settings: Settings) -> OpenRuntime:
    """What runs sources here. Raises EngineError if there is no compose that is new enough."""
    if settings.runtime.engine == "processes":
        return await _processes(settings)
    command = await discover(settings.runtime.compose or None)
    composer = Composer(command, settings.data_dir / "compose-home", settings.runtime.docker_host)

    def projects(host: Host) -> Projects:
        return Projects(
            host.engine,
            composer,
            policies.project_settings(settings, host.provider),
            open_images(settings, host.engine, host.clock, host.learn_rate),
            callback_url=host.callback_url,
            clock=host.clock,
            on_change=host.project_changed,
            guard=Guard(settings.runtime.instance, policies.egress_settings(settings)),
            learn_start=host.learn_start,
        )

    return projects


async def _processes(settings: Settings) -> OpenRuntime:
    """For the demo on a machine without an engine; the settings allow it on a devnet only."""
    from ogpu_provider.devnet.handlers import sample_handlers
    from ogpu_provider.devnet.network import cache_dir

    samples = await sample_handlers(cache_dir())

    def processes(host: Host) -> Processes:
        return Processes(
            samples,
            settings.data_dir,
            callback_url=host.callback_url,
            provider=host.provider,
            clock=host.clock,
            on_change=host.project_changed,
        )

    return processes


async def open_callback(
    settings: Settings, engine: Engine, sink: ResultSink, activated: socket.socket | None
) -> CallbackServer:
    """The server of the containers' results, on `activated` where the service manager holds the port.

    Containers keep the address that they were started with, so the port is the same after a restart.
    """
    secret = callback_secret(settings.data_dir)
    limits = CallbackLimits(body=settings.execution.result_limit)
    if activated is not None:
        host, port = activated.getsockname()[:2]
        return CallbackServer(host, port, secret, sink, limits, listener=activated, folder=settings.data_dir)
    host = settings.callback.host
    if host == "auto":
        host = "127.0.0.1" if settings.runtime.engine == "processes" else await engine.bridge_gateway()
    port = settings.callback.port or remembered_port(settings.data_dir / "callback.port", host)
    return CallbackServer(host, port, secret, sink, limits, folder=settings.data_dir)


def callback_secret(data_dir: Path) -> bytes:
    """What the callback addresses are derived from; made once, because running containers hold their address."""
    path = data_dir / "callback.secret"
    if not path.exists():
        draft = path.with_suffix(".part")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(32))
        os.replace(draft, path)
    return path.read_bytes()


def remembered_port(path: Path, host: str) -> int:
    """The port that was free when this was first asked; the same one ever after. Raises ConfigError."""
    if not path.exists():
        with socket.socket() as probe:
            try:
                probe.bind((host, 0))
            except OSError as error:
                raise not_here(host, error) from error
            path.write_text(str(probe.getsockname()[1]))
    return int(path.read_text())
