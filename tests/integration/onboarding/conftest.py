"""One local network for all sittings; every test has a host and keys of its own."""

import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from ogpu_provider.devnet import accounts
from ogpu_provider.devnet.jsonrpc import JsonRpc
from ogpu_provider.devnet.network import LocalNetwork
from ogpu_provider.devnet.publishing import NO_IMAGE, publish_sample
from ogpu_provider.devnet.samples import Sample
from ogpu_provider.devnet.sdk import SdkClient
from ogpu_provider.devnet.transactions import transact
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.units import COIN
from tests.integration.onboarding.host import BareHost
from tests.integration.onboarding.nursery import Nursery

_numbers = itertools.count()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def local(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalNetwork]:
    async with LocalNetwork(tmp_path_factory.mktemp("onboarding"), block_time=0.25, registry=False) as network:
        yield network


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    with Nursery() as made:
        yield made


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def source(local: LocalNetwork) -> str:
    made, key = local.describe(), accounts.role("client").private_key
    async with SdkClient(made["rpc_url"], made["pin_url"] + "/file/create", key) as client:
        return await publish_sample(local, client, "multiply")


@pytest_asyncio.fixture(loop_scope="session")
async def host(local: LocalNetwork, nursery: Nursery, tmp_path: Path) -> BareHost:
    made = BareHost(tmp_path / f"host{next(_numbers)}", local, nursery)
    await made.prepare()
    return made


async def _publish(local: LocalNetwork, **changes: object) -> str:
    made, key = local.describe(), accounts.role("client").private_key
    words: dict[str, object] = {
        "name": "other",
        "description": "",
        "compose": {"cpu": made["pin_url"]},
        "min_payment": 1,
        "min_lockup": 0,
        "max_expiry": 60,
        "delivery": 1,
    }
    async with SdkClient(made["rpc_url"], made["pin_url"] + "/file/create", key) as client:
        return str(await client.call("publish_source", **{**words, **changes}))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def retired(local: LocalNetwork, source: str) -> str:
    """A source that its client has set inactive; `source` stays the first of the list."""
    address = await _publish(local)
    async with JsonRpc(local.node.rpc_url) as rpc:
        await transact(rpc, accounts.role("client"), local.deployment.nexus, "Nexus", "inactivateSource", address)
    return address


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def dear(local: LocalNetwork, source: str) -> str:
    """A source that asks for more lockup than the network's minimum; `source` stays the first of the list."""
    body = Sample.find("multiply", Environment.CPU).compose(NO_IMAGE.format(name="multiply"))
    return await _publish(local, compose={"cpu": await local.pinning.put(body, "text/yaml")}, min_lockup=150 * COIN)
