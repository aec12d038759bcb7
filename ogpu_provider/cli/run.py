"""`ogpu-provider run`: the daemon, in the foreground."""

from ogpu_provider.cli.options import ConfigFile
from ogpu_provider.domain.errors import ProviderError


async def run(*, config: ConfigFile = None) -> None:
    """Run the provider until SIGTERM or Ctrl-C. Containers stay up: leaving is not killing."""
    import structlog

    from ogpu_provider import daemon, environment, telemetry
    from ogpu_provider.cli.foreground import until_stopped
    from ogpu_provider.config import load

    manager = environment.take_service_manager()
    settings = load(config).settings
    telemetry.configure(level=settings.logs.level, format=settings.logs.format)
    log = structlog.get_logger()
    try:
        await until_stopped(daemon.run(settings, manager))
    except ProviderError as error:
        log.error("daemon_ended", code=error.code, reason=str(error), remedy=error.remedy or None)
        raise
    except Exception:
        log.exception("daemon_died")
        raise
