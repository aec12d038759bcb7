"""`ogpu-provider devnet`: a whole OGPU network on this machine."""

from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter

app = cyclopts.App(name="devnet", help="A local network to try and test on.")


@app.command
async def up(
    *,
    ready_file: Annotated[Path | None, Parameter(help="Written, whole, when the network is ready.")] = None,
    block_time: Annotated[float, Parameter(help="Seconds between blocks.")] = 1.0,
) -> None:
    """Run chain, contracts, pinning service and image registry until stopped.

    When ready, prints one JSON object with endpoints, contracts and funded accounts. The keys in it are known to
    everybody: never use them on a real network.
    """
    import tempfile

    from ogpu_provider.cli.foreground import until_stopped
    from ogpu_provider.devnet import network

    with tempfile.TemporaryDirectory(prefix="ogpu-devnet-") as folder:
        await until_stopped(network.up(Path(folder), block_time=block_time, ready_file=ready_file))
