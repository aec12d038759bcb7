"""The daemon under a service manager: readiness, a watchdog fed by work, and a socket that outlives the daemon."""

import asyncio
import os
import signal
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from ogpu_provider.domain.task import TaskState
from ogpu_provider.hosting import callback_secret
from ogpu_provider.runtime.callback.server import CallbackServer
from tests.e2e.managed import ManagedWorld
from tests.systemd import FakeSystemd
from tests.waiting import until

pytestmark = [pytest.mark.devnet, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]
WATCHDOG_S = 2.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ManagedWorld]:
    folder: Path = tmp_path_factory.mktemp("service")
    settings: dict[str, dict[str, object]] = {
        "runtime": {"engine": "processes", "instance": "service-test"},
        "admission": {"min_time_left": 5.0, "cpu_slots": 2, "slots_per_source": 2},
    }
    async with AsyncExitStack() as stack:
        yield await ManagedWorld.open(stack, folder, FakeSystemd(folder, WATCHDOG_S), settings)


async def test_it_is_ready_and_alive_and_says_so(world: ManagedWorld) -> None:
    first = await world.manager.hears("WATCHDOG=1", 10)
    await world.manager.hears("WATCHDOG=1", WATCHDOG_S, after=first)
    assert world.manager.count("READY=1") == 1
    environ = Path(f"/proc/{world.service.pid}/task/{world.service.pid}/children").read_text().split()
    for child in environ:
        variables = Path(f"/proc/{child}/environ").read_bytes()
        assert b"NOTIFY_SOCKET" not in variables
        assert b"LISTEN_FDS" not in variables


async def test_the_watchdog_starves_while_the_journal_is_stuck(world: ManagedWorld) -> None:
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


async def test_a_result_posted_while_the_daemon_is_down_is_taken(world: ManagedWorld) -> None:
    task = await world.publish("sleep", {"seconds": 3600})
    await world.reaches(task, TaskState.EXECUTING)
    os.kill(world.service.pid, signal.SIGKILL)
    await until(world.service.died, 120, "the end of the daemon")
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


async def test_it_says_that_it_is_stopping(world: ManagedWorld) -> None:
    assert await world.service.stop() == 0
    assert world.manager.count("STOPPING=1") == 1
