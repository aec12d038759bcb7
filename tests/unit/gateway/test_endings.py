"""An end is what the chain says, read once more when it is deep, and again where blocks below it were undone."""

from dataclasses import replace
from pathlib import Path

import pytest

from ogpu_provider.domain.facts import Block, TaskStatus
from ogpu_provider.domain.order import Order, OrderState
from ogpu_provider.domain.units import Address, Hash
from ogpu_provider.gateway.endings import Endings
from ogpu_provider.gateway.standing import Standing
from ogpu_provider.store.orders import GatewayStore
from tests.unit.gateway.orders import a_key, an_order, opened

ONE, OTHER = Address("0x" + "01" * 20), Address("0x" + "02" * 20)
NEW, TAKEN = Standing(9, TaskStatus.NEW), Standing(9, TaskStatus.ATTEMPTED, ONE)
OFFERED = Standing(9, TaskStatus.RESPONDED, ONE, ((ONE, ONE),), manual=True)
PAID = Standing(9, TaskStatus.FINALIZED, ONE, ((ONE, ONE),), confirmed=True)
CANCELED, EXPIRED = Standing(9, TaskStatus.CANCELED), Standing(9, TaskStatus.EXPIRED, ONE)
GONE = Standing(9, None)
EVERY = (NEW, TAKEN, OFFERED, PAID, CANCELED, EXPIRED, GONE)


@pytest.mark.parametrize(
    ("changes", "ends"),
    [
        ({"state": OrderState.COMPLETED, "response": ONE}, {PAID}),
        ({"state": OrderState.COMPLETED, "response": OTHER}, set()),
        ({"state": OrderState.CANCELLED, "refunded": True}, {CANCELED}),
        ({"state": OrderState.FAILED, "code": "result.mismatch", "response": ONE}, {PAID}),
        ({"state": OrderState.FAILED, "code": "task.expired"}, {NEW, TAKEN, CANCELED, EXPIRED}),
        ({"state": OrderState.FAILED, "code": "task.expired", "refunded": True}, {CANCELED, EXPIRED, GONE}),
        ({"state": OrderState.FAILED, "code": "publish.undone", "refunded": True}, {CANCELED, EXPIRED, GONE}),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else "",
)
async def test_an_end_is_what_the_chain_says(tmp_path: Path, changes: dict[str, object], ends: set[Standing]) -> None:
    store = await opened(tmp_path)
    key, _ = await a_key(store)
    order = replace(await an_order(store, key, 1), **changes)  # type: ignore[arg-type]
    await store.close()
    assert {one for one in EVERY if one.ends(order)} == ends


def block(number: int) -> Block:
    return Block(number, Hash(f"0x{number:064x}"), Hash(f"0x{number - 1:064x}"), number, None)


class Chain:
    """Says of every order that it is over, and how high it is; counts how often it was asked."""

    def __init__(self, store: GatewayStore) -> None:
        self.height = 0
        self.asked: list[str] = []
        self.endings = Endings(store, self.look, 3)

    async def look(self, order: Order) -> int | None:
        self.asked.append(order.id)
        return self.height

    async def at(self, number: int) -> int:
        """How many ends are read at this block."""
        self.height, self.asked = number, []
        await self.endings.check(block(number))
        return len(self.asked)


async def completed(store: GatewayStore, number: int, height: int) -> Order:
    key, _ = await a_key(store, f"key {number}")
    order = await an_order(store, key, number)
    return await store.move(order, "completed", at=1001.0, height=height, state=OrderState.COMPLETED)


async def test_an_end_is_read_again_once_it_is_deep_and_then_no_more(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    chain = Chain(store)
    for number in range(40):
        await completed(store, number, 10)
    assert [await chain.at(number) for number in (11, 12, 13, 14, 99)] == [0, 0, 40, 0, 0]
    await store.close()


async def test_what_was_read_in_blocks_that_are_undone_is_read_again(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    chain = Chain(store)
    for number, height in enumerate((10, 20, 30)):
        await completed(store, number, height)
    assert await chain.at(33) == 3  # now they rest on block 33
    await chain.endings.undo(block(33))
    assert await chain.at(40) == 0
    await chain.endings.undo(block(31))
    assert [await chain.at(number) for number in (33, 34, 99)] == [0, 3, 0]
    await store.close()


async def test_while_blocks_are_undone_every_open_end_is_read_and_settled_when_it_is_deep(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    chain = Chain(store)
    await completed(store, 1, 10)
    await chain.endings.undo(block(9))
    for number in (10, 11, 12):
        chain.height, chain.asked = number, []
        await chain.endings.check(block(number), restless=True)
        assert len(chain.asked) == 1
    chain.asked = []
    await chain.endings.check(block(13), restless=True)
    assert chain.asked == []
    await store.close()


async def test_an_end_that_is_undone_while_it_is_read_again_stays_open(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    chain = Chain(store)
    order = await completed(store, 1, 10)
    await chain.endings.undo(block(8))
    await store.settle_end(order.id, was=10, height=13)
    assert await chain.at(11) == 1
    await store.close()


async def test_an_order_that_is_live_again_has_no_end(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    chain = Chain(store)
    order = await completed(store, 1, 10)
    await store.move(order, "reopened", at=1002.0, state=OrderState.EXECUTING)
    assert await chain.at(99) == 0
    await store.close()
