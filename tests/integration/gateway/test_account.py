"""The gateway's own account: its key is made and its coin moved by commands, between two runs of the gateway."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from ogpu_provider.devnet import accounts
from ogpu_provider.domain.units import COIN
from tests.integration.gateway.world import World, running

pytestmark = [pytest.mark.devnet, pytest.mark.timeout(300)]


async def command(config: Path, *words: str) -> tuple[int, Any, str]:
    pipe = asyncio.subprocess.PIPE
    argv = (sys.executable, "-m", "ogpu_provider.cli.main", *words, "--json", "--config", str(config))
    process = await asyncio.create_subprocess_exec(*argv, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe)
    out, err = await process.communicate()
    return process.returncode or 0, json.loads(out) if out else None, err.decode()


async def paid(world: World) -> None:
    task_id = (await world.create()).json()["task_id"]
    await world.answer(await world.published(task_id), {"result": 42})
    await world.reaches(task_id, "COMPLETED")


async def test_coin_is_moved_with_the_gateways_key_while_it_is_stopped_and_it_goes_on(tmp_path: Path) -> None:
    moving = ("--account", "gateway", "--yes")
    async with running(tmp_path) as world:
        await paid(world)
        code, _, said = await command(world.config, "vault", "deposit", "2", *moving)
        assert (code, "[store.locked]" in said, "stop the gateway" in said) == (3, True, True)
        await world.stop()
        held = await world.vault()
        code, sent, said = await command(world.config, "vault", "deposit", "2", *moving)
        assert (code, sent["sent"], sent["value_wei"]) == (0, True, 2 * COIN), said
        code, sent, said = await command(world.config, "vault", "withdraw", "1", *moving)
        assert (code, sent["sent"]) == (0, True), said
        code, shown, said = await command(world.config, "vault", "show", "--account", "gateway")
        assert (code, shown["balance_wei"]) == (0, held + COIN), said
        assert shown["account"] == accounts.role("client2").address
        assert await world.vault() == held + COIN
        await world.start()
        await paid(world)
