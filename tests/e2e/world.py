"""A local network with a provider daemon on it, as the tests with real parts use it."""

import time
from dataclasses import dataclass
from typing import Any

from ogpu_provider.devnet import accounts
from ogpu_provider.devnet.network import LocalNetwork
from ogpu_provider.devnet.provider_process import ProviderProcess
from ogpu_provider.devnet.sdk import SdkClient
from ogpu_provider.domain.task import Task, TaskState
from ogpu_provider.domain.units import COIN, Address
from ogpu_provider.store.reader import SqliteReader
from tests.waiting import until


@dataclass
class World:
    network: LocalNetwork
    client: SdkClient
    daemon: ProviderProcess
    sources: dict[str, Address]
    reader: SqliteReader

    async def publish(
        self, source: str, function: str, data: Any, *, life: float = 120.0, pay: int = COIN // 100
    ) -> Address:
        """Publish a task with the official SDK; `life` in seconds, `pay` in wei."""
        address = await self.client.call(
            "publish_task",
            source=self.sources[source],
            function=function,
            data=data,
            expiry=int(time.time() + life),
            payment=pay,
        )
        return Address(address)

    async def row(self, task: Address) -> Task:
        """The daemon's row of a task, once there is one."""
        row: Task = await until(lambda: self.reader.task(task), 120, "a row for the task")
        return row

    async def reaches(self, task: Address, *states: TaskState, timeout: float = 60.0) -> Task:
        """The row, once it is in one of `states`. Fails at once if it ended in another."""

        async def look() -> Task | None:
            self.daemon.check()
            row = await self.reader.task(task)
            if row and row.state.over and row.state not in states:
                raise AssertionError(f"ended {row.state}: {row.code}: {row.reason}")
            return row if row and row.state in states else None

        row: Task = await until(look, timeout, f"task in {states}")
        return row

    async def vault(self, role: str) -> int:
        view = await self.client.call("vault", address=accounts.role(role).address)
        return int(view["balance"])
