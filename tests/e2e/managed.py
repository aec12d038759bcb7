"""A provider that a service manager starts, on a local network with one source."""

import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Self

from ogpu_provider.devnet import accounts
from ogpu_provider.devnet.deployment import pair_and_fund
from ogpu_provider.devnet.network import LocalNetwork
from ogpu_provider.devnet.provider_process import ProviderProcess
from ogpu_provider.devnet.publishing import publish_sample
from ogpu_provider.devnet.sdk import SdkClient
from ogpu_provider.domain.task import Task, TaskState
from ogpu_provider.domain.units import COIN, Address
from ogpu_provider.store.reader import SqliteReader, open_readonly
from tests.systemd import FakeSystemd
from tests.waiting import sources_ready, until


class Service(ProviderProcess):
    """The daemon's data directory and settings, with the process started by a service manager."""

    def __init__(self, manager: FakeSystemd, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.manager = manager

    async def start(self, entry: object = ()) -> None:
        self._process = await self.manager.start(
            self.log, "-m", "ogpu_provider.cli.main", "run", "--config", str(self.config)
        )


class ManagedWorld:
    """The service serves `source`, READY was said."""

    def __init__(self, network: LocalNetwork, service: Service, client: SdkClient, source: Address) -> None:
        self.network = network
        self.service = service
        self.manager = service.manager
        self.client = client
        self.source = source
        self.reader: SqliteReader

    @classmethod
    async def open(
        cls, stack: AsyncExitStack, folder: Path, manager: FakeSystemd, settings: dict[str, dict[str, object]]
    ) -> Self:
        """`settings` as of ProviderProcess; with `runtime.engine` processes there is no image registry."""
        processes = settings["runtime"].get("engine") == "processes"
        await stack.enter_async_context(manager)
        network = await stack.enter_async_context(LocalNetwork(folder, registry=not processes))
        made = network.describe()
        await pair_and_fund(network.node.rpc_url, network.deployment)
        client = await stack.enter_async_context(
            SdkClient(made["rpc_url"], made["pin_url"] + "/file/create", accounts.role("client").private_key)
        )
        source = Address(await publish_sample(network, client, "multiply"))
        key = accounts.role("provider").private_key
        service = await stack.enter_async_context(Service(manager, folder, made, key, settings))
        world = cls(network, service, client, source)
        await manager.hears("READY=1", 60)
        world.reader = await open_readonly(service.data_dir / "provider.db")
        stack.push_async_callback(world.reader.close)
        await sources_ready(service, world.reader, {source})
        return world

    async def publish(self, function: str, data: object) -> Address:
        task = await self.client.call(
            "publish_task",
            source=self.source,
            function=function,
            data=data,
            expiry=int(time.time() + 90),
            payment=COIN // 100,
        )
        return Address(task)

    async def reaches(self, task: Address, state: TaskState) -> Task:
        async def look() -> Task | None:
            self.service.check()
            row = await self.reader.task(task)
            return row if row and row.state is state else None

        return await until(look, 120, f"a task in {state}")
