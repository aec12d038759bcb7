"""The committed artifacts are what the contracts compile to; and the provisioned tools work."""

import asyncio
import os
from typing import NoReturn

import pytest

from ogpu_provider.devnet import tools
from ogpu_provider.devnet.abi import ARTIFACTS
from ogpu_provider.devnet.compiler import compile_contracts
from ogpu_provider.domain.errors import DevnetError

pytestmark = pytest.mark.devnet


def skip_or_fail(error: DevnetError) -> NoReturn:
    """A missing tool is a failure where everything should be there, and a reason to skip elsewhere."""
    if os.environ.get("CI") == "true" or error.code != "devnet.tool_missing":
        raise error
    pytest.skip(str(error))


async def test_the_artifacts_are_reproduced_byte_for_byte() -> None:
    try:
        compiled = await compile_contracts()
    except DevnetError as error:
        skip_or_fail(error)
    committed = {file.name: file.read_bytes() for file in ARTIFACTS.glob("*.json")}
    assert committed.keys() == compiled.keys()
    for name, text in compiled.items():
        assert committed[name] == text.encode(), f"{name} is stale: run scripts/contracts"


async def test_the_provisioned_compose_is_the_real_program() -> None:
    try:
        compose = await tools.provision_compose()
    except DevnetError as error:
        skip_or_fail(error)
    argv = [str(compose), "version", "--short"]
    process = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert output.decode().strip().removeprefix("v") == "2.40.3"
    failing = await asyncio.create_subprocess_exec(
        str(compose), "-f", "/nowhere/compose.yml", "config", stderr=asyncio.subprocess.DEVNULL
    )
    assert await failing.wait() != 0  # the package's own wrapper would have said 0
