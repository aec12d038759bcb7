"""The daemon under a service manager: readiness, a watchdog fed by work, and a socket that outlives the daemon."""

import asyncio
import os
import signal
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from ogpu_provider.devnet import accounts
from ogpu_provider.devnet.deployment import pair_and_fund
from ogpu_provider.devnet.network import LocalNetwork
from ogpu_provider.devnet.provider_process import ProviderProcess
from ogpu_provider.devnet.publishing import publish_sample
from ogpu_provider.devnet.sdk import SdkClient
from ogpu_provider.domain.task import Task, TaskState
from ogpu_provider.domain.units import COIN, Address
from ogpu_provider.hosting import callback_secret
from ogpu_provider.runtime.callback.server import CallbackServer
from ogpu_provider.store.reader import SqliteReader, open_readonly
from tests.systemd import FakeSystemd
from tests.waiting import sources_ready, until

pytestmark = [pytest.mark.devnet, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]
WATCHDOG_S = 2.0


class Service(ProviderProcess):
    """The daemon's data directory and settings, with the process started by a service manager."""

    def __init__(self, manager: FakeSystemd, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.manager = manager

    async def start(self, entry: object = ()) -> None:
        self._process = await self.manager.start(
            self.log, "-m", "ogpu_provider.cli.main", "run", "--config", str(self.config)
        )


class World:
    def __init__(self, service: Service, client: SdkClient, source: Address, reader: SqliteReader) -> None:
        self.service = service
        self.manager = service.manager
        self.client = client
        self.source = source
        self.reader = reader

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

        return await until(look, 60, f"a task in {state}")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder: Path = tmp_path_factory.mktemp("service")
    settings: dict[str, dict[str, object]] = {
        "runtime": {"engine": "processes", "instance": "service-test"},
        "admission": {"min_time_left": 5.0, "cpu_slots": 2, "slots_per_source": 2},
    }
    async with AsyncExitStack() as stack:
        manager = await stack.enter_async_context(FakeSystemd(folder, WATCHDOG_S))
        network = await stack.enter_async_context(LocalNetwork(folder, registry=False))
        made = network.describe()
        await pair_and_fund(network.node.rpc_url, network.deployment)
        client = await stack.enter_async_context(
            SdkClient(made["rpc_url"], made["pin_url"] + "/file/create", accounts.role("client").private_key)
        )
        source = Address(await publish_sample(network, client, "multiply"))
        key = accounts.role("provider").private_key
        service = await stack.enter_async_context(Service(manager, folder, made, key, settings))
        await manager.hears("READY=1", 60)
        reader = await open_readonly(service.data_dir / "provider.db")
        stack.push_async_callback(reader.close)
        await sources_ready(service, reader, {source})
        yield World(service, client, source, reader)


async def test_it_is_ready_and_alive_and_says_so(world: World) -> None:
    first = await world.manager.hears("WATCHDOG=1", 10)
    await world.manager.hears("WATCHDOG=1", WATCHDOG_S, after=first)
    assert world.manager.count("READY=1") == 1
    environ = Path(f"/proc/{world.service.pid}/task/{world.service.pid}/children").read_text().split()
    for child in environ:
        variables = Path(f"/proc/{child}/environ").read_bytes()
        assert b"NOTIFY_SOCKET" not in variables
        assert b"LISTEN_FDS" not in variables


async def test_the_watchdog_starves_while_the_journal_is_stuck(world: World) -> None:
    """The event loop runs on and its timers fire; but the daemon's work does not get done."""
    blocker = sqlite3.connect(world.service.data_dir / "provider.db", isolation_level=None)
    try:
        blocker.execute("BEGIN IMMEDIATE")
        await asyncio.sleep(WATCHDOG_S * 1.5)  # a block arrives, and its cursor waits for the lock
        before = world.manager.count("WATCHDOG=1")
        await asyncio.sleep(WATCHDOG_S * 1.5)
        assert world.manager.count("WATCHDOG=1") == before
        world.service.check()
        blocker.execute("ROLLBACK")
    finally:
        blocker.close()
    await world.manager.hears("WATCHDOG=1", 20, after=len(world.manager.heard))


async def test_a_result_posted_while_the_daemon_is_down_is_taken(world: World) -> None:
    task = await world.publish("sleep", {"seconds": 3600})
    await world.reaches(task, TaskState.EXECUTING)
    os.kill(world.service.pid, signal.SIGKILL)
    await until(world.service.died, 10, "the end of the daemon")
    secret = callback_secret(world.service.data_dir)
    host, port = world.manager.address.split(":")
    url = CallbackServer(host, int(port), secret, sink=None).url(world.source)  # type: ignore[arg-type]
    async with httpx.AsyncClient(timeout=60, trust_env=False) as container:
        posting = asyncio.create_task(container.post(f"{url}/{task}", json={"slept": 1}))
        await asyncio.sleep(1.0)
        assert not posting.done(), "nobody answers, and the connection is not refused"
        heard = len(world.manager.heard)
        await world.service.start()
        assert (await posting).status_code == 200
    await world.manager.hears("READY=1", 60, after=heard)
    row = await world.reaches(task, TaskState.SETTLED)
    assert (await world.client.call("task", address=task))["payload"] == {"slept": 1}, row.reason


async def test_it_says_that_it_is_stopping(world: World) -> None:
    assert await world.service.stop() == 0
    assert world.manager.count("STOPPING=1") == 1
