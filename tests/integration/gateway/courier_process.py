"""Tells webhooks until it is killed: `python -m tests.integration.gateway.courier_process FOLDER`."""

import asyncio
import sys
from pathlib import Path

from ogpu_provider.domain.clock import SystemClock
from ogpu_provider.gateway.bell import Bell
from ogpu_provider.gateway.webhooks import Courier
from ogpu_provider.ipfs.webhook import Poster
from tests.unit.gateway.orders import opened


async def main(folder: Path) -> None:
    store = await opened(folder)
    async with Poster(allow_private=True) as poster:
        await Courier(store, SystemClock(), poster.post, Bell()).run()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
