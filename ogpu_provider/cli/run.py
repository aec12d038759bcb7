"""`ogpu-provider run`: the daemon, in the foreground."""

from ogpu_provider.cli.options import ConfigFile


async def run(*, config: ConfigFile = None) -> None:
    """Run the provider until SIGTERM or Ctrl-C. Containers stay up: leaving is not killing."""
    from ogpu_provider import daemon, telemetry
    from ogpu_provider.cli.foreground import until_stopped
    from ogpu_provider.config import load

    settings = load(config).settings
    telemetry.configure(level=settings.logs.level, format=settings.logs.format)
    await until_stopped(daemon.run(settings))
