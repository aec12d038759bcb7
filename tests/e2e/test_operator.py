"""The operator's commands against a daemon that works, asked as a script would: in processes of their own."""

import asyncio
import json
import sys
from typing import Any

import pytest

from ogpu_provider.domain.task import TaskState
from tests.e2e.world import World
from tests.waiting import until

pytestmark = [
    pytest.mark.devnet,
    pytest.mark.docker,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(600),
]
S = TaskState


async def command(world: World, *words: str) -> tuple[int, str]:
    """Exit code and standard output."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ogpu_provider.cli.main", *words, "--config", str(world.daemon.config)),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return process.returncode, out.decode()


async def status(world: World) -> tuple[int, dict[str, Any]]:
    code, out = await command(world, "status", "--json")
    return code, json.loads(out)


async def test_an_operator_pauses_looks_and_resumes(world: World) -> None:
    try:
        assert (await command(world, "pause"))[0] == 0
        declined = await world.publish("multiply", "multiply", {"a": 2, "b": 3})
        assert (await world.reaches(declined, S.DECLINED)).code == "provider.paused"
        code, found = await status(world)
        assert (code, found["earning"]) == (1, False)
        assert [problem["code"] for problem in found["diagnosis"]["problems"]] == ["provider.paused"]
    finally:
        assert (await command(world, "resume"))[0] == 0
    task = await world.publish("multiply", "multiply", {"a": 2, "b": 3})
    await world.reaches(task, S.SETTLED)
    code, found = await status(world)
    assert (code, found["earning"], found["running"]) == (0, True, True), found["diagnosis"]
    assert (found["rpc"]["answers"], found["account"]["paired"]) == (True, True)
    assert found["account"]["tasks_covered"] > 0
    assert found["breakers"] == {"sources": [], "clients": []}
    assert found["coin_price"]["price"] is None
    assert found["owner"] == {"in_use": None, "power_limit_wished": None}
    sources = json.loads((await command(world, "sources", "list", "--json"))[1])
    assert {row["address"] for row in sources if row["state"] == "ready"} == set(world.sources.values())
    earned = json.loads((await command(world, "earnings", "--json"))[1])["total"]
    assert earned["tasks"] >= 1
    assert earned["net_wei"] == earned["paid_wei"] - earned["gas_wei"]
    code, screen = await command(world, "top", "--once")
    assert (code, "devices" in screen, "multiply" in screen) == (0, True, True)
    assert "ogpu_task_transitions_total" in (await command(world, "metrics"))[1]


async def test_a_drained_daemon_finishes_its_work_and_starts_again_unpaused(world: World) -> None:
    task = await world.publish("multiply", "sleep", {"seconds": 3})
    await world.reaches(task, S.EXECUTING)
    code, out = await command(world, "drain")
    assert (code, out.splitlines()[-1]) == (0, "drained: the daemon has ended")
    assert "1 tasks to finish" in out

    async def ended() -> bool:
        return await world.daemon.died()

    await until(ended, 120, "the daemon to end")
    assert world.daemon.exit_code == 0
    row = await world.reader.task(task)
    assert row is not None
    assert row.state in (S.SUBMITTED, S.SETTLED)
    code, found = await status(world)
    assert (code, found["running"], found["draining"]) == (1, False, None)
    await world.daemon.start()
    await world.reaches(task, S.SETTLED)
    await world.reaches(await world.publish("multiply", "multiply", {"a": 4, "b": 5}), S.SETTLED)
