"""After a start: hold every task that an earlier run left live against the chain, once there is a head."""

import structlog

from ogpu_provider.domain.errors import ProviderError
from ogpu_provider.pipeline.ports import Ports
from ogpu_provider.pipeline.reckoning import Reckoning

log = structlog.get_logger()

PAUSE_S = 2.0
"""Seconds between two rounds over those that could not be asked for."""


async def resume(ports: Ports, reckoning: Reckoning, known: int) -> None:
    """Returns when each was. `known`: number of the last block that the earlier run read."""
    waiting = {task.address for task in await ports.journal.live() if task.boot != ports.boot}
    while waiting:
        await ports.clock.sleep(PAUSE_S)
        if ports.head.block is None:
            continue
        for address in tuple(waiting):
            try:
                await reckoning.recover(address, known)
            except ProviderError as error:
                log.warning("task_not_recovered_yet", task=address, code=error.code, error=str(error))
            else:
                waiting.discard(address)
