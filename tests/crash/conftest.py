"""A local network of quick blocks, and a daemon that tests may arm and kill."""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from ogpu_provider.devnet import accounts
from ogpu_provider.devnet.deployment import pair_and_fund
from ogpu_provider.devnet.engine import remove_instance
from ogpu_provider.devnet.network import LocalNetwork
from ogpu_provider.devnet.provider_process import ProviderProcess
from ogpu_provider.devnet.publishing import publish_sample
from ogpu_provider.devnet.sdk import SdkClient
from ogpu_provider.domain.source import DeliveryMethod
from ogpu_provider.domain.units import Address
from tests.auditing import Auditor
from tests.decoys import decoys
from tests.e2e.world import World
from tests.waiting import open_when_there, sources_ready, until

BLOCK_S = 0.25


@dataclass
class Crashing(World):
    """A world whose daemon is started with `entry`, so that a point may be armed while it runs, beside an auditor.

    `products`: what each task is to bring.
    """

    auditor: Auditor
    armable: bool = False
    products: dict[str, Any] = field(default_factory=dict)

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

        await until(taken, 120, "the point to be armed", 0.02)

    async def multiply(self, a: int, b: int, *, source: str = "multiply", life: float) -> Address:
        """Publish a task whose result the auditor will look for."""
        task = await self.publish(source, "multiply", {"a": a, "b": b}, life=life)
        self.products[task] = {"result": a * b}
        return task

    async def audit(self) -> None:
        """By what others see, of all tasks so far; and the journal is whole."""
        verdict = await self.auditor.verdict(self.products)
        assert verdict.broken == {}
        assert set(verdict.responses) == {task.lower() for task in self.products}
        assert await self.reader.integrity_check() == []


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
            provider = accounts.role("provider")
            try:
                async with AsyncExitStack() as stack:
                    daemon = ProviderProcess(folder, made, provider.private_key, settings)
                    await stack.enter_async_context(daemon)
                    reader = await open_when_there(daemon)
                    stack.push_async_callback(reader.close)
                    await sources_ready(daemon, reader, set(sources.values()))
                    auditor = Auditor(
                        made["rpc_url"],
                        network.deployment.nexus,
                        provider,
                        instance=instance,
                        gateway=made["gateway_url"],
                        outputs=[daemon.log],
                        decoys=await stack.enter_async_context(decoys(instance)),
                    )
                    await stack.enter_async_context(auditor)
                    yield Crashing(network, client, daemon, sources, reader, auditor)
            finally:
                await remove_instance(instance)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> AsyncIterator[Crashing]:
    name = f"{request.module.INSTANCE}-{os.getpid()}"
    async with crashing(tmp_path_factory.mktemp(name), name) as made:
        yield made
