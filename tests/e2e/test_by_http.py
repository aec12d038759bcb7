"""A user of the Tasks API, and the provider on the same host that does the work in a container."""

from pathlib import Path

import pytest
from standardwebhooks import Webhook

from ogpu_provider.devnet import accounts
from ogpu_provider.devnet.jsonrpc import JsonRpc
from ogpu_provider.devnet.transactions import transact
from ogpu_provider.domain.units import COIN
from tests.e2e.world import World
from tests.integration.gateway.world import Sink, gateway_on
from tests.waiting import until

pytestmark = [
    pytest.mark.devnet,
    pytest.mark.docker,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(300),
]


async def test_a_task_by_http_is_done_by_the_local_provider_whose_logs_are_shown(world: World, tmp_path: Path) -> None:
    async with JsonRpc(world.network.node.rpc_url) as rpc:
        payer, vault = accounts.role("client2"), world.network.deployment.vault
        await transact(rpc, payer, vault, "Vault", "deposit", payer.address, value=COIN)
    models = {"multiply": (world.sources["multiply"], "0.01")}
    local = f'provider_data_dir = "{world.daemon.data_dir}"'
    async with gateway_on(world.network, tmp_path, models, local) as gateway, Sink().serving() as sink:
        made = await gateway.create(callback_url=sink.url)
        task_id = made.json()["task_id"]
        done = await gateway.reaches(task_id, "COMPLETED")
        assert done["results"]["result"] == 42
        assert done["chain"]["provider"] == accounts.role("provider").address

        async def printed() -> list[str] | None:
            shown = (await gateway.http.get(f"/api/tasks/{task_id}")).json()["execution_logs"]
            return shown["lines"] if shown["origin"] == "container" else None

        assert any(done["chain"]["task"] in line for line in await until(printed, 60, "the container's log"))
        logs = (await gateway.http.get(f"/api/tasks/{task_id}/logs")).json()
        assert logs["origin"] == "container"
        assert any(done["chain"]["task"] in line for line in logs["lines"])

        async def told() -> bool:
            return len(sink.told) >= 4

        await until(told, 120, "the webhooks")
        bodies = [Webhook(gateway.secret).verify(body, headers) for headers, body in sink.told]
        assert {"task.completed", "task.results_available"} <= {body["type"] for body in bodies}
