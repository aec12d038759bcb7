"""Reads open tasks from contract state now and then, so that a lost log costs time and not a task."""

import structlog

from ogpu_provider.domain.errors import ProviderError
from ogpu_provider.domain.source import SourceState
from ogpu_provider.pipeline.intake import Intake
from ogpu_provider.pipeline.ports import Ports
from ogpu_provider.pipeline.reckoning import Reckoning

log = structlog.get_logger()

PAUSE_S = 180.0
QUIET_ROUNDS = 5
LIMIT = 100
"""Seconds between two rounds; of those that find no live task, one in so many is made. Rows looked at in a round:
those of which nothing was heard for longest."""


class Census:
    def __init__(self, ports: Ports, reckoning: Reckoning, intake: Intake, *, pause: float = PAUSE_S) -> None:
        self._ports = ports
        self._reckoning = reckoning
        self._intake = intake
        self._pause = pause

    async def run(self) -> None:
        """As a service. A round that finds no endpoint is made up for by the next."""
        quiet = 0
        while True:
            await self._ports.clock.sleep(self._pause)
            quiet = 0 if await self._ports.journal.live() else quiet + 1
            if self._ports.head.block is not None and quiet % QUIET_ROUNDS == 0:
                await self.count()

    async def count(self) -> None:
        """One round: tasks that we have no row of, then rows that the chain may have passed by."""
        for source in self._ports.book.all():
            if source.state in (SourceState.READY, SourceState.COLD):
                try:
                    for view in await self._ports.chain.open_tasks(source.address):
                        await self._intake.adopt(view)
                except ProviderError as error:
                    log.warning("open_tasks_unread", source=source.address, code=error.code, error=str(error))
        before = self._ports.clock.now() - self._pause
        quiet = [task for task in await self._ports.journal.live() if task.updated_at <= before]
        for task in sorted(quiet, key=lambda task: task.updated_at)[:LIMIT]:
            try:
                await self._reckoning.recover(task.address)
            except ProviderError as error:
                log.warning("task_unread", task=task.address, code=error.code, error=str(error))
                if error.code == "chain.empty_answer":
                    await self._reckoning.give_up(task.address)
