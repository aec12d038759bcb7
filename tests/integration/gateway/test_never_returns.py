"""A publication is undone, and its transaction never comes back: no node that the gateway reaches takes it any more."""

import json
from pathlib import Path

import pytest

from ogpu_provider.domain.facts import TaskStatus
from tests.faults.lies import Fault
from tests.faults.proxy import Proxy
from tests.integration.gateway.world import PRICE, Sink, World, gateway_on, prepared
from tests.waiting import until

pytestmark = [pytest.mark.devnet, pytest.mark.timeout(600)]
SEND = "eth_sendRawTransaction"
DEPTH = 12


async def undo(world: World, block: int) -> None:
    """Everything above `block` never was, and what was in it is in no node's pool."""
    first = hex(block + 1)
    before = (await world.rpc("eth_getBlockByNumber", first, False))["hash"]
    while (await world.rpc("eth_getBlockByNumber", first, False))["hash"] == before:
        await world.rpc("anvil_reorg", int(await world.rpc("eth_blockNumber"), 16) - block, [])


async def test_a_publication_that_never_returns_costs_nothing_and_holds_up_nobody(tmp_path: Path) -> None:
    async with (
        prepared(tmp_path) as (network, models),
        Proxy(network.node.rpc_url) as way,
        gateway_on(network, tmp_path, models, confirmations=DEPTH, way=way) as world,
        Sink().serving() as sink,
    ):
        full = await world.vault()
        await world.rpc("anvil_mine", "0x4")
        before = int(await world.rpc("eth_blockNumber"), 16)
        lost = (await world.create(callback_url=sink.url)).json()["task_id"]
        task = await world.published(lost)
        assert await world.vault() == full - PRICE

        await way.arm(Fault.RESET, SEND)
        await undo(world, before)
        assert await world.rpc("eth_getCode", task, "latest") == "0x"
        assert await world.vault() == full

        async def sent_in_vain() -> bool:
            return way.struck[Fault.RESET, SEND] > 0

        await until(sent_in_vain, 120, "the gateway to send it again")
        waiting = (await world.http.get(f"/api/tasks/{lost}")).json()
        assert (waiting["status"], waiting["refunded"]) == ("CREATED", False), "it may still come"
        behind = (await world.create()).json()["task_id"]

        await world.later(3600)
        failed = await world.reaches(lost, "FAILED")
        assert (failed["error"]["code"], failed["refunded"], failed["results"]) == ("publish.undone", True, None)

        await way.disarm()
        after = (await world.create()).json()["task_id"]
        address = await world.published(after)
        await world.answer(address, {"result": 42})
        assert (await world.reaches(after, "COMPLETED"))["results"] == {"result": 42}
        await world.reaches(behind, "FAILED")

        assert address == task, "the next task is made where the one was that was undone"

        still = (await world.http.get(f"/api/tasks/{lost}")).json()
        assert (still["status"], still["error"]["code"], still["refunded"]) == ("FAILED", "publish.undone", True)
        assert (still["chain"]["task"], still["results"]) == (None, None), "what is there now is not its own"
        assert await world.vault() == full - PRICE, "one task was paid for: that which was answered"
        assert len(await world.publications()) == 1
        assert await world.status_on_chain(address) == TaskStatus.FINALIZED

        async def told() -> bool:
            return len(sink.told) > 0

        await until(told, 60, "its owner to be told")
        assert [json.loads(body)["type"] for _, body in sink.told] == ["task.failed"]
