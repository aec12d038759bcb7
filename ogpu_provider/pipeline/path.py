"""The parts of the path joined: who tells whom, once, for the daemon and for every test of the whole path."""

import asyncio
from collections.abc import Callable

from ogpu_provider.domain.task import AT_WORK, Task, TaskState
from ogpu_provider.domain.together import begin
from ogpu_provider.domain.units import Address
from ogpu_provider.pipeline.census import Census
from ogpu_provider.pipeline.conductor import Conductor, Observer
from ogpu_provider.pipeline.intake import Intake
from ogpu_provider.pipeline.orders import Orders
from ogpu_provider.pipeline.ports import Ports
from ogpu_provider.pipeline.reckoning import Reckoning
from ogpu_provider.pipeline.results import ResultSink
from ogpu_provider.pipeline.resumption import resume
from ogpu_provider.pipeline.sources import SourceKeeper
from ogpu_provider.pipeline.wishes import SourcePolicy


class TaskPath:
    """`moved` is told of each step of a task; `looked` and `out_of_memory` are as the keeper takes them."""

    def __init__(
        self,
        ports: Ports,
        sources: SourcePolicy,
        moved: Observer | None = None,
        *,
        looked: asyncio.Event | None = None,
        out_of_memory: Callable[[Address, str], None] = lambda _source, _code: None,
    ) -> None:
        self.ports = ports
        self._moved = moved
        self.conductor = Conductor(ports, self._observe)
        self.keeper = SourceKeeper(
            ports,
            sources,
            on_change=self.conductor.nudge_source,
            on_ready=self._ready,
            busy=self.conductor.busy,
            engaged=self.conductor.engaged,
            occupied=self.conductor.occupied,
            looked=looked,
            out_of_memory=out_of_memory,
        )
        self.intake = Intake(ports, self.conductor, self.keeper)
        self.reckoning = Reckoning(ports, self.conductor, self.intake.promises)
        self.results = ResultSink(ports, self.conductor)
        self.orders = Orders(ports, self.conductor, self.keeper.leaving)
        self.census = Census(ports, self.reckoning, self.intake)

    async def restore(self) -> None:
        """What was asked for and what runs, from the journal and the engine. Before `run`. Raises ProviderError."""
        await self.orders.restore()
        await self.keeper.restore()

    async def run(self, known: int) -> None:
        """Drive tasks and keep sources until canceled. `known`: number of the last block that an earlier run read."""
        async with asyncio.TaskGroup() as group:
            begin(group, self.conductor.run(), name="conductor")
            await self.started()
            begin(group, self.keeper.run(), name="sources")
            begin(group, resume(self.ports, self.reckoning, known), name="recovery")
            begin(group, self.census.run(), name="census")

    async def started(self) -> None:
        """Returns when the tasks of earlier runs are driven, and new ones may come."""
        await self.conductor.started()

    def project_changed(self, source: Address) -> None:
        """Its containers are others than before, or gone."""
        self.keeper.changed(source)
        self.conductor.nudge_source(source)

    def _observe(self, task: Task, before: TaskState) -> None:
        if self._moved is not None:
            self._moved(task, before)
        if task.state not in AT_WORK:
            self.keeper.finished(task.source)

    async def _ready(self, source: Address) -> None:
        """Tasks published while nobody looked, then those that waited for the source."""
        for view in await self.ports.chain.open_tasks(source):
            await self.intake.adopt(view)
        self.conductor.nudge_source(source)
