"""Tasks published with the official SDK, done by a real daemon in real containers, paid on a real chain."""

import asyncio
import base64
import json

import httpx
import pytest

from ogpu_provider.devnet import accounts
from ogpu_provider.devnet.deployment import COIN
from ogpu_provider.devnet.jsonrpc import JsonRpc
from ogpu_provider.devnet.samples import samples_dir
from ogpu_provider.devnet.transactions import transact
from ogpu_provider.domain.task import TaskState
from ogpu_provider.domain.units import Address
from ogpu_provider.ipfs.cid import cid_v0
from tests.auditing import Auditor
from tests.e2e.world import World
from tests.waiting import until

pytestmark = [
    pytest.mark.devnet,
    pytest.mark.docker,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(600),
]
S = TaskState


async def _attempts_and_responses(world: World, task: Address) -> tuple[int, int]:
    """Counted from the chain's logs by a bystander, not from the journal."""
    node, provider = world.network.node, accounts.role("provider")
    async with Auditor(node.rpc_url, world.network.deployment.nexus, provider) as auditor:
        found = await auditor.verdict()
    return found.attempts.count(task.lower()), found.responses.count(task.lower())


async def test_a_task_is_done_and_paid(world: World) -> None:
    before = await world.vault("master")
    task = await world.publish("multiply", "multiply", {"a": 6, "b": 7})
    row = await world.reaches(task, S.SETTLED)
    view = await world.client.call("task", address=task)
    assert view["status"] == "FINALIZED"
    assert view["payload"] == {"result": 42}
    assert view["winner"] == accounts.role("provider").address
    assert await world.vault("master") == before + COIN // 100
    assert row.link == view["data"]
    async with httpx.AsyncClient() as http:
        body = (await http.get(row.link)).content
    assert cid_v0(body) == row.cid
    assert json.loads(body) == {"result": 42}
    assert await _attempts_and_responses(world, task) == (1, 1)


async def test_real_machine_learning_on_a_cpu(world: World) -> None:
    picture = (samples_dir() / "ocr" / "sample.png").read_bytes()
    task = await world.publish("ocr", "ocr", {"image": base64.b64encode(picture).decode()})
    await world.reaches(task, S.SETTLED)
    view = await world.client.call("task", address=task)
    assert view["payload"]["lines"], view["payload"]


async def test_manual_confirmation_waits_for_the_client_and_is_paid_what_was_bid(world: World) -> None:
    before, bid = await world.vault("master"), 9 * COIN // 1000
    task = await world.publish("manual", "multiply", {"a": 3, "b": 5})
    row = await world.reaches(task, S.RESPONDED)
    assert (row.payment, row.bid) == (COIN // 100, bid)
    assert await _suggested(world, task) == bid
    assert (await world.client.call("task", address=task))["status"] == "RESPONDED"
    assert await world.vault("master") == before
    await world.client.call("confirm", response=row.response)
    await world.reaches(task, S.SETTLED)
    view = await world.client.call("task", address=task)
    assert (view["status"], view["payload"]) == ("FINALIZED", {"result": 15})
    assert await world.vault("master") == before + bid
    [entry] = [each for each in await world.reader.entries() if each.kind == "payment" and each.paid == bid]
    assert entry.source == world.sources["manual"]


async def _suggested(world: World, task: Address) -> int:
    """What our attempt says, as its log has it."""
    topic = "0x88c89788e8b61b93ed2a66e02b36e04d60275b78893674aa6134fad20874022d"
    async with JsonRpc(world.network.node.rpc_url) as rpc:
        logs = await rpc.call("eth_getLogs", {"fromBlock": "0x0", "toBlock": "latest", "topics": [topic]})
    [data] = [log["data"] for log in logs if task.lower()[2:] in log["data"]]
    return int(data[-64:], 16)


async def test_an_unknown_function_and_a_bad_input_cost_no_attempt(world: World) -> None:
    unknown = await world.publish("multiply", "divide", {"a": 1, "b": 2})
    invalid = await world.publish("multiply", "multiply", {"a": "six"})
    assert (await world.reaches(unknown, S.DECLINED)).code == "function.unknown"
    assert (await world.reaches(invalid, S.DECLINED)).code == "function.invalid_input"
    assert await _attempts_and_responses(world, unknown) == (0, 0)
    assert await _attempts_and_responses(world, invalid) == (0, 0)


async def test_an_agents_attempt_turns_a_declined_task_into_an_obligation(world: World) -> None:
    task = await world.publish("multiply", "multiply", {"a": 2, "b": 2}, pay=COIN // 500)
    assert (await world.reaches(task, S.DECLINED)).code == "payment.below_floor"
    agent, provider = accounts.role("agent"), accounts.role("provider")
    nexus = (world.network.deployment.nexus, "Nexus")
    async with JsonRpc(world.network.node.rpc_url) as rpc:
        await transact(rpc, agent, *nexus, "attempt", task, provider.address, COIN // 500)
    await until(lambda: _obliged(world, task), 120, "the obligation")
    await world.reaches(task, S.SETTLED)
    view = await world.client.call("task", address=task)
    assert (view["status"], view["payload"]) == ("FINALIZED", {"result": 4})
    assert await _attempts_and_responses(world, task) == (1, 1)


async def _obliged(world: World, task: Address) -> bool:
    row = await world.reader.task(task)
    return bool(row and row.obliged)


async def test_a_canceled_task_leaves_the_queue_and_an_expired_one_frees_its_slot(world: World) -> None:
    """Both slots of the source are taken by handlers that outlive their tasks; a third task waits and is canceled."""
    hogs = [await world.publish("multiply", "sleep", {"seconds": 60}, life=25) for _ in range(2)]
    for hog in hogs:
        await world.reaches(hog, S.EXECUTING)
    waiting = await world.publish("multiply", "multiply", {"a": 1, "b": 1})
    await asyncio.sleep(2.0)
    assert (await world.row(waiting)).state is S.SEEN
    await world.client.call("cancel", task=waiting)
    await world.reaches(waiting, S.CANCELED)
    for hog in hogs:
        assert (await world.reaches(hog, S.FAILED)).code == "execute.no_result"
    after = await world.publish("multiply", "multiply", {"a": 9, "b": 9})
    await world.reaches(after, S.SETTLED)


async def test_a_handler_that_fails_ends_the_task_and_keeps_its_logs(world: World) -> None:
    task = await world.publish("multiply", "fail", {"message": "on purpose"}, life=15)
    row = await world.reaches(task, S.FAILED)
    assert row.code == "execute.no_result"
    log = world.daemon.data_dir / "logs" / f"{task}.log"

    async def kept() -> bool:
        return log.exists() and "on purpose" in log.read_text()

    await until(kept, 120, "the container's log")
