"""Two processes work on one file, in turns; and what they tell each other ends with either."""

import asyncio
import socket
from pathlib import Path

import pytest

from ogpu_provider.domain.errors import RpcUnavailable, StoreError
from ogpu_provider.domain.units import Address
from ogpu_provider.gateway.chain_view import ChainView
from ogpu_provider.gateway.line import Line
from ogpu_provider.store.orders import GatewayStore
from tests.unit.gateway.orders import CHAIN, CLIENT, a_key, an_order, opened


async def second(folder: Path) -> GatewayStore:
    return await GatewayStore.open(folder / "gateway.db", chain_id=CHAIN, client=CLIENT, second=True)


async def test_both_write_at_once_and_read_what_the_other_wrote(tmp_path: Path) -> None:
    publishes, answers = await opened(tmp_path), await second(tmp_path)
    key, _ = await a_key(publishes)
    halves = (publishes, answers)
    await asyncio.gather(*(an_order(halves[number % 2], key, number) for number in range(100)))
    for half in halves:
        assert (await half.orders(key.id, limit=100))[1] == 100
        assert await half.integrity_check() == []
    with pytest.raises(StoreError) as refused:
        await opened(tmp_path)  # a third one is another gateway
    assert refused.value.code == "store.locked"
    await answers.close()
    await publishes.close()


async def lines() -> tuple[Line, Line]:
    ours, theirs = socket.socketpair()
    return await Line.over(ours), await Line.over(theirs)


async def test_a_line_ends_with_the_other_half() -> None:
    one, other = await lines()
    for _ in range(3):
        one.ring()
    one.tell("settled", order="task_1")
    await asyncio.sleep(0)
    one.close()
    assert [told async for told in other.messages()] == [{"what": "settled", "order": "task_1"}, {"what": "rung"}]
    other.tell("rung")  # nobody hears it
    other.close()


async def test_what_is_not_known_of_the_chain_is_waited_for_and_then_refused() -> None:
    one, other = await lines()
    view = ChainView(one, patience_s=0.05)
    with pytest.raises(RpcUnavailable):
        await view.balance()
    with pytest.raises(RpcUnavailable):
        await view.vouches(Address("0x" + "11" * 20), b"d", b"s")
    view = ChainView(one, patience_s=60)
    asked = asyncio.create_task(view.balance())
    await asyncio.sleep(0)
    view.take({"what": "chain", "time": 7, "balance": str(10**30)})
    assert await asked == 10**30
    one.close()
    other.close()
