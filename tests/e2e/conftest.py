"""One local network and one provider daemon for all end-to-end tests; each test publishes its own tasks."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

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
from ogpu_provider.store.reader import SqliteReader
from tests.e2e.world import World
from tests.waiting import open_when_there, sources_ready

INSTANCE = f"e2e-{os.getpid()}"
SETTINGS: dict[str, dict[str, object]] = {
    "admission": {"min_payment": "0.005", "min_time_left": 5.0, "cpu_slots": 3, "slots_per_source": 2},
    "price": {"bid": "percentage:90"},
    "runtime": {"instance": INSTANCE},
}


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder: Path = tmp_path_factory.mktemp("e2e")
    async with LocalNetwork(folder) as network:
        made = network.describe()
        await pair_and_fund(network.node.rpc_url, network.deployment)
        key = accounts.role("client").private_key
        async with SdkClient(made["rpc_url"], made["pin_url"] + "/file/create", key) as client:
            sources = {
                "multiply": Address(await publish_sample(network, client, "multiply")),
                "manual": Address(
                    await publish_sample(
                        network, client, "multiply", delivery=DeliveryMethod.MANUAL_CONFIRMATION, title="manual"
                    )
                ),
                "ocr": Address(await publish_sample(network, client, "ocr")),
            }
            provider = accounts.role("provider").private_key
            try:
                async with ProviderProcess(folder, made, provider, SETTINGS) as daemon:
                    reader = await _ready(daemon, set(sources.values()))
                    yield World(network, client, daemon, sources, reader)
                    await reader.close()
            finally:
                await remove_instance(INSTANCE)


async def _ready(daemon: ProviderProcess, sources: set[Address]) -> SqliteReader:
    reader = await open_when_there(daemon)
    await sources_ready(daemon, reader, sources)
    return reader
