"""The image on the host's engine, by compose/provider.yml: one file, one secret, and an upgrade under way."""

import pytest

from ogpu_provider.devnet import accounts
from ogpu_provider.domain.task import TaskState
from tests.image.composition import Composition, inspected, ran
from tests.image.work import Local

pytestmark = [
    pytest.mark.devnet,
    pytest.mark.docker,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(600),
]


async def test_an_upgrade_goes_on_with_the_task_that_runs(
    local: Local, composition: Composition, newer_image: str
) -> None:
    composition.change(
        "  provider:\n    healthcheck: {interval: 5s}\n"
        '    environment: {OGPU_PROVIDER_RUNTIME__UNFILTERED_EGRESS: "false"}\n'
    )
    await composition.register(local.network, local.source)
    await composition.compose("up", "--detach", "provider")
    first = await composition.healthy("provider")
    await composition.ready()
    await runs_as_nobody_in_particular(first)
    found = await composition.says(first, "doctor", "--only", "egress_rules")
    assert [check["status"] for check in found["checks"] if check["id"] == "egress_rules"] == ["ok"], found

    task = await local.publish("sleep", {"seconds": 40})
    await composition.task_in(task, TaskState.EXECUTING)
    (source,) = await composition.sources_containers()
    composition.image = newer_image
    await composition.compose("up", "--detach", "provider")
    second = await composition.healthy("provider")
    assert (await inspected(second))["Config"]["Labels"]["org.opencontainers.image.version"] == "newer"
    assert second != first
    view = await local.finalised(task)
    assert (view["payload"], view["winner"]) == ({"slept": 40.0}, accounts.role("provider").address)
    (after,) = await composition.sources_containers()
    assert after["Id"] == source["Id"]
    assert after["State"]["StartedAt"] == source["State"]["StartedAt"]
    assert after["RestartCount"] == 0
    assert await local.sent(task) == (1, 1)
    row = await composition.task_in(task, TaskState.SETTLED)
    assert row.dispatches == 1, "the work was done once"


async def runs_as_nobody_in_particular(container: str) -> None:
    listed = (await ran("docker", "top", container, "-eo", "pid,uid,args")).out.splitlines()
    (daemon,) = [line.split()[1] for line in listed if "bin/ogpu-provider run" in line]
    assert daemon == "10001", listed
