"""One local network for all sittings; every test has a host and keys of its own."""

import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from ogpu_provider.devnet import accounts
from ogpu_provider.devnet.network import LocalNetwork
from ogpu_provider.devnet.publishing import publish_sample
from ogpu_provider.devnet.sdk import SdkClient
from tests.integration.onboarding.host import BareHost

_numbers = itertools.count()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def local(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalNetwork]:
    async with LocalNetwork(tmp_path_factory.mktemp("onboarding"), block_time=0.4, registry=False) as network:
        yield network


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def source(local: LocalNetwork) -> str:
    made, key = local.describe(), accounts.role("client").private_key
    async with SdkClient(made["rpc_url"], made["pin_url"] + "/file/create", key) as client:
        return await publish_sample(local, client, "multiply")


@pytest_asyncio.fixture(loop_scope="session")
async def host(local: LocalNetwork, tmp_path: Path) -> BareHost:
    made = BareHost(tmp_path / f"host{next(_numbers)}", local)
    await made.prepare()
    return made
