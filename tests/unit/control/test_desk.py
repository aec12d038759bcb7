"""What the daemon answers, with a real path behind the desk."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from ogpu_provider.chain.wallet import FeeData
from ogpu_provider.control.desk import Desk
from ogpu_provider.domain.errors import ProviderError
from ogpu_provider.domain.source import SourceState
from ogpu_provider.domain.task import TaskState
from ogpu_provider.domain.units import COIN
from ogpu_provider.runtime.egress.table import Traffic
from tests.fakes.clock import settle
from tests.unit.control.desk import CAP, MASTER, WELL, open_office
from tests.unit.pipeline.stage import Outside, serving


@pytest.fixture
def outside() -> Outside:
    return Outside()


async def ask(desk: Desk, verb: str, **args: object) -> dict[str, Any]:
    """As it would come over the socket."""
    answer: dict[str, Any] = json.loads(json.dumps(await desk.verbs[verb](args)))
    return answer


async def test_status_tells_what_is_going_on(outside: Outside) -> None:
    source = outside.source(answers=False)
    async with open_office(outside, gpu=True) as office:
        await serving(office.daemon, source)
        task = await office.daemon.publish(source)
        office.desk.heard()
        await outside.clock.advance(3)
        found = await ask(office.desk, "status")
        assert found["head"] is not None
        assert found["head"]["silent_s"] == 3
        rpc = found["rpc"]
        assert isinstance(rpc, dict)
        (end,) = rpc.pop("endpoints")
        assert rpc == {"answers": True, "code": None, "reason": None, "tried_at": 1.8e9, "seconds": 0}
        assert (end["name"], end["head"], end["lag"], end["limit"], end["socket_open"]) == (WELL.name, 9, 0, None, True)
        account = found["account"]
        assert isinstance(account, dict)
        assert (account["balance_wei"], account["balance"], account["master"]) == (COIN, "1", MASTER)
        assert account["tasks_covered"] == COIN // (3 * 10**9 * 3_100_000)
        capacity = found["capacity"]
        assert isinstance(capacity, dict)
        assert (capacity["slots"], capacity["slots_used"]) == (2, 1)
        assert [device["held_by"] for device in capacity["devices"]] == [None]
        assert {lease["holder"] for lease in capacity["leases"]} == {f"source:{source}", f"task:{task}"}
        (live,) = found["live"]
        assert (live["address"], live["state"], live["waits"]) == (task, "executing", "the container is at work")
        (planned,) = found["open_transactions"]
        assert (planned["effect"], planned["subject"]) == ("attempt", task)
        assert (found["paused_since"], found["draining"]) == (None, None)


async def test_what_the_rules_counted_is_told_of_each_source(outside: Outside) -> None:
    counted, other = outside.source(), outside.source()
    async with open_office(outside) as office:
        await settle()
        before = await ask(office.desk, "status")
        office.desk.traffic = lambda: {counted: Traffic(sent=7, received=11)}
        shown = await ask(office.desk, "status")
        text = await office.desk.verbs["metrics"]({})
    figures = [
        {row["address"]: (row["bytes_sent"], row["bytes_received"]) for row in found["sources"]}
        for found in (before, shown)
    ]
    assert figures == [{counted: (None, None), other: (None, None)}, {counted: (7, 11), other: (None, None)}]
    assert f'ogpu_source_bytes{{direction="sent",source="{counted}"}} 7.0' in str(text)
    assert f'ogpu_source_bytes{{direction="received",source="{counted}"}} 11.0' in str(text)


async def test_a_node_that_is_down_keeps_the_last_reading(outside: Outside) -> None:
    async with open_office(outside) as office:
        office.wallet.down = True
        await outside.clock.advance(5)
        await office.desk.account.look()
        found = await ask(office.desk, "status")
        assert found["rpc"]["code"] == "chain.unavailable"
        assert found["account"]["read_at"] == 1.8e9
        assert found["head"] is None


async def test_gas_above_the_operators_own_cap_has_no_price(outside: Outside) -> None:
    async with open_office(outside) as office:
        office.wallet.price = FeeData(CAP, CAP, 10**9)
        await office.desk.account.look()
        assert (await ask(office.desk, "status"))["account"]["price_wei"] == CAP
        office.wallet.price = FeeData(CAP + 1, CAP, 10**9)
        await office.desk.account.look()
        account = (await ask(office.desk, "status"))["account"]
        assert (account["price_wei"], account["tasks_covered"]) == (None, None)


async def test_with_no_healthy_endpoint_nothing_answers_whatever_the_last_reading_said(outside: Outside) -> None:
    async with open_office(outside) as office:
        ill = replace(WELL, healthy=False, head=-1, errors=3, reason="HTTP 503", rests_s=4.0, socket_open=False)
        office.endpoints.append(replace(ill, name="b:1"))
        assert (await ask(office.desk, "status"))["rpc"]["answers"] is True
        office.endpoints[:] = [ill, replace(ill, name="b:1", reason="no answer in 10 s")]
        found = await ask(office.desk, "status")
        rpc = found["rpc"]
        assert (rpc["answers"], rpc["code"]) == (False, "chain.unavailable")
        assert rpc["reason"] == f"{WELL.name}: HTTP 503; b:1: no answer in 10 s"
        assert [(one["head"], one["errors"], one["rests_s"]) for one in rpc["endpoints"]] == [(None, 3, 4.0)] * 2


async def test_orders_are_carried_out_and_reported(outside: Outside) -> None:
    source = outside.source(answers=False)
    async with open_office(outside) as office:
        await serving(office.daemon, source)
        await office.daemon.publish(source)
        assert (await ask(office.desk, "pause"))["paused_since"] == outside.clock.now()
        refused = await office.daemon.publish(source)
        assert await office.daemon.state(refused) is TaskState.DECLINED
        draining = (await ask(office.desk, "drain"))["draining"]
        assert draining == {"since": outside.clock.now(), "tasks": 1, "transactions": 1, "sources": 0}
        assert (await ask(office.desk, "status"))["draining"] == draining
        assert await ask(office.desk, "resume") == {"paused_since": None, "draining": None}


async def test_sources_are_added_removed_and_looked_at_again(outside: Outside) -> None:
    source = outside.source()
    async with open_office(outside) as office:
        await serving(office.daemon, source)
        removed = await ask(office.desk, "sources.remove", source=source.lower())
        assert (removed["address"], removed["code"]) == (source, "source.leaving")
        await settle()
        with pytest.raises(ProviderError) as caught:
            await ask(office.desk, "sources.retry", source=source)
        assert caught.value.code == "source.not_served"
        assert (await ask(office.desk, "sources.add", source=source))["state"] == "wanted"
        await serving(office.daemon, source)
        assert (await ask(office.desk, "sources.retry", source=source))["state"] == SourceState.READY


@pytest.mark.parametrize("source", [None, 7, "", "0x12", "0x" + "g" * 40])
async def test_a_request_about_no_source_is_refused(outside: Outside, source: object) -> None:
    async with open_office(outside) as office:
        for verb in ("sources.add", "sources.remove", "sources.retry"):
            with pytest.raises(ProviderError) as caught:
                await ask(office.desk, verb, source=source)
            assert caught.value.code == "control.bad_request"
        assert await outside.journal.wishes() == []


async def test_metrics_are_prometheus_text(outside: Outside) -> None:
    async with open_office(outside) as office:
        text = await office.desk.verbs["metrics"]({})
        assert "# TYPE ogpu_tasks_live gauge\nogpu_tasks_live 0.0" in str(text)


async def test_the_account_is_read_once_a_minute_if_asked_for_and_sooner_after_a_failure(outside: Outside) -> None:
    async with open_office(outside) as office:
        watch = office.desk.account
        running = asyncio.ensure_future(watch.run())
        await outside.clock.advance(30)
        office.wallet.down = True
        await outside.clock.advance(300)
        assert watch.problem is None, "nobody asked"
        await office.desk.verbs["status"]({})
        await outside.clock.advance(1)
        assert watch.problem is not None
        office.wallet.down, office.wallet.coin = False, 7
        await outside.clock.advance(10)
        assert watch.problem is None
        assert watch.last is not None
        assert (watch.last.balance, watch.last.tasks_covered) == (7, 0)
        running.cancel()
