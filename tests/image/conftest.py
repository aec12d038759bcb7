"""Tests of the built container image, named by OGPU_TEST_IMAGE: `scripts/test-image` builds it and runs them."""

import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from ogpu_provider.devnet import accounts, tools
from ogpu_provider.devnet.deployment import pair_and_fund
from ogpu_provider.devnet.engine import remove_instance
from ogpu_provider.devnet.network import LocalNetwork
from ogpu_provider.devnet.publishing import publish_sample
from ogpu_provider.devnet.sdk import SdkClient
from tests.image.composition import Composition
from tests.image.work import Local

IMAGE = os.environ.get("OGPU_TEST_IMAGE", "")
collect_ignore_glob = [] if IMAGE else ["test_*.py"]


@pytest.fixture(scope="session")
def image() -> str:
    return IMAGE


@pytest.fixture(scope="session")
def newer_image() -> Iterator[str]:
    """Another version, as an upgrade brings it."""
    name = f"{IMAGE}-newer"
    recipe = f"FROM {IMAGE}\nLABEL org.opencontainers.image.version=newer\n"
    subprocess.run(["docker", "build", "--quiet", "--tag", name, "-"], input=recipe.encode(), check=True)
    yield name
    subprocess.run(["docker", "image", "rm", "--force", name], capture_output=True, check=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def local(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Local]:
    async with LocalNetwork(tmp_path_factory.mktemp("image")) as network:
        made = network.describe()
        await pair_and_fund(network.node.rpc_url, network.deployment)
        key = accounts.role("client").private_key
        async with SdkClient(made["rpc_url"], made["pin_url"] + "/file/create", key) as client:
            yield Local(network, client, await publish_sample(network, client, "multiply"))


@pytest_asyncio.fixture(loop_scope="session")
async def composition(tmp_path: Path, image: str) -> AsyncIterator[Composition]:
    """compose/provider.yml with a secret of its own; afterwards nothing of it is left."""
    made = Composition(tmp_path, image, await tools.ensure_compose())
    yield made
    await made.compose("--profile", "*", "down", "--volumes", "--timeout", "60")
    await remove_instance(made.instance)
