"""A whole daemon behind two endpoints that both go away: at its start, and in the middle of its work. Its operator is
told, and told when it is over."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from ogpu_provider.devnet.engine import remove_instance
from ogpu_provider.devnet.provider_process import ProviderProcess
from ogpu_provider.domain.task import TaskState
from ogpu_provider.domain.units import Address
from ogpu_provider.environment import others
from tests.faults.lies import Fault
from tests.faults.proxy import Proxy
from tests.faults.scene import PROVIDER, Scene
from tests.unit.control.receiver import Inbox, inbox
from tests.waiting import until

INSTANCE = f"outage-{os.getpid()}"
pytestmark = [pytest.mark.devnet, pytest.mark.docker, pytest.mark.timeout(600)]


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as opened:
        yield opened
    await remove_instance(INSTANCE)


async def status(daemon: ProviderProcess) -> tuple[int, dict[str, Any]]:
    """What an operator's command says, and its exit code."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ogpu_provider.cli.main", "status", "--json", "--config", str(daemon.config)),
        env=others(),
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate()
    return process.returncode or 0, json.loads(said)


async def is_cut_off(daemon: ProviderProcess, *ends: Proxy) -> None:
    """Commands are served, and say which endpoints do not answer, and why."""

    async def told() -> bool:
        daemon.check()
        code, found = await status(daemon)
        assert found["running"]
        problems = [problem["code"] for problem in found["diagnosis"]["problems"]]
        return code == 1 and "rpc.down" in problems and not any(one["healthy"] for one in found["rpc"]["endpoints"])

    await until(told, 120, "the daemon to say that no endpoint answers")
    _, found = await status(daemon)
    assert [one["name"] for one in found["rpc"]["endpoints"]] == [end.url.removeprefix("http://") for end in ends]
    assert all(one["reason"] for one in found["rpc"]["endpoints"])
    assert found["diagnosis"]["headline"].startswith("not earning: the RPC endpoint does not answer")


async def one_is_enough(daemon: ProviderProcess) -> None:
    async def told() -> bool:
        _, found = await status(daemon)
        problems = {problem["code"] for problem in found["diagnosis"]["problems"]}
        notes = {note["code"] for note in found["diagnosis"]["notes"]}
        return "rpc.down" not in problems and "rpc.degraded" in notes

    await until(told, 120, "the daemon to say that one endpoint of two answers")


async def told(box: Inbox, *, over: bool) -> dict[str, Any]:
    """The alert about the endpoints, or its end."""

    async def came() -> dict[str, Any] | None:
        found = (one for one in box.taken if one["code"] == "rpc.down" and one["resolved"] is over)
        return next(found, None)

    return await until(came, 120, f"an alert about the endpoints, over: {over}")


async def test_a_daemon_outlives_all_of_its_endpoints(tmp_path: Path, stack: AsyncExitStack) -> None:
    scene = await Scene.open(stack, tmp_path / "network")
    ends = [await scene.proxy(seed) for seed in (1, 2)]
    for end in ends:
        await end.arm(Fault.REFUSE)
    others_way = {"rpc_urls": [ends[1].url, ends[1].ws_url]}
    box = await stack.enter_async_context(inbox())
    alerts = {"url": box.url, "after": 1.0}
    daemon = await scene.daemon(tmp_path, INSTANCE, ends[0], network=others_way, alerts=alerts)
    auditor = await scene.auditor(daemon, INSTANCE)
    await scene.journal(daemon)
    await is_cut_off(daemon, *ends)
    alert = await told(box, over=False)
    assert (alert["severity"], alert["provider"]) == ("critical", PROVIDER.address)
    for end in ends:
        await end.disarm()
    world = await scene.world(daemon)

    products: dict[str, object] = {await world.publish("multiply", "multiply", {"a": 6, "b": 7}): {"result": 42}}
    for number, fault in enumerate((Fault.REFUSE, Fault.FAIL, Fault.HANG)):
        for end in ends:
            await end.arm(fault)
        missed = await world.publish("multiply", "multiply", {"a": number, "b": 3})
        products[missed] = {"result": 3 * number}
        await is_cut_off(daemon, *ends)
        await ends[1].disarm()  # and the first stays away
        for task in products:
            assert (await world.reaches(Address(task), TaskState.SETTLED)).response
    await one_is_enough(daemon)
    await told(box, over=True)
    assert all(secret not in daemon.log.read_text() for secret in ("s3cr3t-t0ken", "pa55phrase"))
    verdict = await auditor.verdict(products)
    assert verdict.broken == {}
    assert set(verdict.responses) == {task.lower() for task in products}
