"""`ogpu-provider metrics`: the daemon's figures, for a collector of text files. The daemon itself opens no port."""

from ogpu_provider.cli.live import daemon_of
from ogpu_provider.cli.options import ConfigFile


async def metrics(*, config: ConfigFile = None) -> None:
    """Print the running daemon's metrics in the Prometheus text format."""
    print(await daemon_of(config).ask("metrics"), end="")
