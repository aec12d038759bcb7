"""A local network of quick blocks, and a daemon that tests may arm and kill."""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from ogpu_provider.devnet import accounts
from ogpu_provider.devnet.deployment import pair_and_fund
from ogpu_provider.devnet.engine import project_sources, remove_instance
from ogpu_provider.devnet.network import LocalNetwork
from ogpu_provider.devnet.provider_process import ProviderProcess
from ogpu_provider.devnet.publishing import publish_sample
from ogpu_provider.devnet.sdk import SdkClient
from ogpu_provider.domain.killpoints import POINTS
from ogpu_provider.domain.source import DeliveryMethod
from ogpu_provider.domain.units import Address
from tests.auditing import effects
from tests.e2e.world import World
from tests.waiting import open_when_there, sources_ready, until

BLOCK_S = 0.25


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.write_line(f"kill points: {len(POINTS)}")


class Crashing(World):
    """A world whose daemon is started with `entry`, so that a point may be armed while it runs."""

    instance = ""
    armable = False

    @property
    def _point(self) -> Path:
        return self.daemon.directory / "point"

    @property
    def entry(self) -> tuple[str, ...]:
        return ("-m", "tests.crash.armed", str(self._point))

    async def arm(self, point: str) -> None:
        """From now on the daemon dies at `point`."""
        self._point.write_text(point)
        os.kill(self.daemon.pid, signal.SIGUSR1)

        async def taken() -> bool:
            return not self._point.exists()

        await until(taken, 10, "the point to be armed", 0.02)

    async def audit(self, task: Address, product: int) -> None:
        """By what others see: paid, one attempt, one response, and no container without a row."""
        view = await self.client.call("task", address=task)
        assert (view["status"], view["payload"]) == ("FINALIZED", {"result": product})
        found = await effects(self.network.node.rpc_url, self.network.deployment.nexus, task)
        assert (found.attempts, found.responses) == (1, 1)
        assert await self.reader.integrity_check() == []
        known = {row.address for row in await self.reader.sources()}
        assert set(await project_sources(self.instance)) <= known, "a container without a row"


@asynccontextmanager
async def crashing(folder: Path, instance: str) -> AsyncIterator[Crashing]:
    settings: dict[str, dict[str, object]] = {
        "admission": {"min_time_left": 5.0, "cpu_slots": 8, "slots_per_source": 4},
        "runtime": {"instance": instance},
    }
    async with LocalNetwork(folder, block_time=BLOCK_S) as network:
        made = network.describe()
        await pair_and_fund(network.node.rpc_url, network.deployment)
        async with SdkClient(
            made["rpc_url"], made["pin_url"] + "/file/create", accounts.role("client").private_key
        ) as client:
            manual = DeliveryMethod.MANUAL_CONFIRMATION
            sources = {
                "multiply": Address(await publish_sample(network, client, "multiply")),
                "manual": Address(await publish_sample(network, client, "multiply", delivery=manual, title="manual")),
            }
            try:
                async with ProviderProcess(folder, made, accounts.role("provider").private_key, settings) as daemon:
                    reader = await open_when_there(daemon)
                    await sources_ready(daemon, reader, set(sources.values()))
                    world = Crashing(network, client, daemon, sources, reader)
                    world.instance = instance
                    yield world
                    await reader.close()
            finally:
                await remove_instance(instance)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> AsyncIterator[Crashing]:
    name = request.module.INSTANCE
    async with crashing(tmp_path_factory.mktemp(name), name) as made:
        yield made
