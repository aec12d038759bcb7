"""The registry as a child process."""

import asyncio
import shutil
import sys
from pathlib import Path

import httpx
import pytest

from ogpu_provider.devnet.registry import ImageRegistry
from ogpu_provider.domain.errors import DevnetError

needs_registry = pytest.mark.skipif(not shutil.which("docker-registry"), reason="docker-registry is not installed")


async def test_a_missing_program_has_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(DevnetError) as caught:
        async with ImageRegistry(tmp_path, program="no-such-registry"):
            pass
    assert caught.value.code == "devnet.no_registry"
    assert "apt-get install docker-registry" in caught.value.remedy


async def test_a_program_that_dies_is_reported_with_what_it_said(tmp_path: Path) -> None:
    program = tmp_path / "registry"
    program.write_text("#!/bin/sh\necho disk is full >&2\nexit 1\n")
    program.chmod(0o755)
    with pytest.raises(DevnetError, match="disk is full") as caught:
        async with ImageRegistry(tmp_path / "data", program=str(program)):
            pass
    assert caught.value.code == "devnet.registry_start"


@needs_registry
async def test_answers_on_loopback_and_is_gone_afterwards(tmp_path: Path) -> None:
    async with ImageRegistry(tmp_path) as registry, httpx.AsyncClient(trust_env=False) as client:
        assert registry.address.startswith("127.0.0.1:")
        answer = await client.get(f"{registry.url}/v2/_catalog")
        assert answer.json() == {"repositories": []}
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", registry.port)
    assert not list(tmp_path.glob("config-*"))


@needs_registry
async def test_two_at_once(tmp_path: Path) -> None:
    async with ImageRegistry(tmp_path) as one, ImageRegistry(tmp_path) as two:
        assert one.port != two.port


@needs_registry
@pytest.mark.skipif(not shutil.which("setpriv"), reason="setpriv is not installed")
async def test_does_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    program = (
        "import asyncio, sys, pathlib\n"
        "from ogpu_provider.devnet.registry import ImageRegistry\n"
        "async def main():\n"
        "    async with ImageRegistry(pathlib.Path(sys.argv[1])) as registry:\n"
        "        print(registry.port, flush=True)\n"
        "        await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    port = int(await parent.stdout.readline())
    parent.kill()
    await parent.wait()
    async with asyncio.timeout(60):
        while await listens(port):
            await asyncio.sleep(0.02)


async def listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return False
    writer.close()
    return True
