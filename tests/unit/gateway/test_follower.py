"""An order is what the chain says of its task, also where the chain takes it back."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest_asyncio
from eth_abi.abi import encode

from ogpu_provider.chain.contracts import CALLS, encode_call
from ogpu_provider.chain.wire import Call
from ogpu_provider.domain.facts import Block, TaskStatus
from ogpu_provider.domain.order import Order, OrderState
from ogpu_provider.domain.units import ZERO_ADDRESS, Address, Hash
from ogpu_provider.gateway.follower import Follower
from ogpu_provider.gateway.local import LocalProvider
from ogpu_provider.ipfs.fetch import Fetcher
from ogpu_provider.store.orders import GatewayStore
from tests.fakes.clock import FakeClock
from tests.unit.gateway.orders import a_key, an_order, opened

TASK, ONE = Address("0x" + "aa" * 20), Address("0x" + "01" * 20)


class Node:
    """Has one task, or none, as of block `height`."""

    def __init__(self) -> None:
        self.height = 10
        self.there = True
        self.status = TaskStatus.NEW
        self.attempts: list[Address] = []
        self.terms: tuple[object, ...] = ()

    async def call(self, method: str, *params: Any) -> Any:
        (answer,) = await self.batch([(method, params)])
        return answer

    async def batch(self, calls: Sequence[Call]) -> list[Any]:
        return [hex(self.height) if method == "eth_blockNumber" else self._view(params) for method, params in calls]

    def _view(self, params: Sequence[Any]) -> str:
        values: dict[str, tuple[object, ...]] = {
            "Task.getStatus": (self.status,),
            "Task.taskParams": self.terms,
            "Task.getAttemptCount": (len(self.attempts),),
            "Task.getDeliveryMethod": (1,),
            "Task.winningProvider": (ZERO_ADDRESS,),
            "Task.getAttempters": (self.attempts,),
            "Task.getResponsesOf": ([ZERO_ADDRESS for _ in self.attempts],),
        }
        for name, value in values.items():
            if params[0]["data"][2:10] == encode_call(name, *((0, 0) if CALLS[name][0] else ())).hex()[:8]:
                return "0x" + encode(list(CALLS[name][1]), value).hex() if self.there else "0x"
        raise AssertionError(params)


class World:
    def __init__(self, store: GatewayStore, order: Order, fetcher: Fetcher) -> None:
        self.store = store
        self.id = order.id
        self.node = Node()
        self.node.terms = (order.source, order.config_url, order.expiry, order.payment)
        self.ended: list[str] = []
        self.clock = FakeClock(1000.0)
        self.follower = Follower(
            store,
            self.node,
            fetcher,
            self.clock,
            lambda one: self.ended.append(one.id),
            self.confirm,
            LocalProvider(None),
        )

    async def confirm(self, order: Order) -> Order:
        raise AssertionError("nothing is confirmed here")

    async def order(self) -> Order:
        found = await self.store.order(self.id)
        assert found is not None
        return found

    async def block(self, number: int, at: int) -> Order:
        """One more block, and a look at the order."""
        self.node.height = number
        await self.follower.deliver(Block(number, Hash(f"0x{number:064x}"), Hash("0x" + "00" * 32), at), [])
        await self.clock.advance(1)
        await self.follower.look(await self.order())
        return await self.order()


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    store = await opened(tmp_path)
    key, _ = await a_key(store)
    order = await an_order(store, key, 1, at=1000.0)
    order = await store.move(order, "published", at=1000.5, address=TASK, pinned=True)
    async with Fetcher() as fetcher:
        yield World(store, order, fetcher)
    await store.close()


async def test_a_publication_that_is_undone_for_good_ends_its_order_at_its_expiry(world: World) -> None:
    assert (await world.block(11, 1001)).state is OrderState.CREATED
    world.node.there = False
    assert (await world.block(12, 1002)).state is OrderState.CREATED
    assert (await world.block(13, 1002)).state is OrderState.CREATED  # it may come again
    assert world.ended == []
    failed = await world.block(14, 5000)
    assert (failed.state, failed.code, failed.refunded) == (OrderState.FAILED, "publish.undone", True)
    assert world.ended == [world.id]
    world.node.there = True  # it came again, late: what was paid for it comes back when somebody attempts it
    await world.block(15, 5001)
    await world.block(16, 5002)
    back = await world.block(17, 5003)
    assert (back.state, back.code, back.refunded) == (OrderState.FAILED, "task.expired", False)
    world.node.status = TaskStatus.EXPIRED
    assert (await world.block(18, 5004)).refunded


async def test_an_end_that_one_node_does_not_know_yet_is_not_taken_back(world: World) -> None:
    world.node.status = TaskStatus.CANCELED
    assert (await world.block(12, 1002)).state is OrderState.CANCELLED
    world.node.status = TaskStatus.NEW  # another node behind the same address, a block behind
    assert (await world.block(11, 1002)).state is OrderState.CANCELLED
    world.node.status = TaskStatus.CANCELED
    assert (await world.block(12, 1002)).state is OrderState.CANCELLED
    world.node.status = TaskStatus.NEW
    assert (await world.block(13, 1003)).state is OrderState.CANCELLED
    assert (await world.block(14, 1004)).state is OrderState.CREATED  # a later block still lacks it
    world.node.status, world.node.attempts = TaskStatus.ATTEMPTED, [ONE]
    assigned = await world.block(15, 1005)
    assert (assigned.state, assigned.provider) == (OrderState.ASSIGNED, ONE)
    kinds = [line.kind for line in await world.store.history(world.id)]
    assert kinds == ["created", "published", "cancelled", "reopened", "assigned"]


async def test_another_s_task_at_its_address_is_none_of_its_own(world: World) -> None:
    """The publication was undone, and what a stranger published in its stead got the same address."""
    world.node.attempts = [ONE]
    assert (await world.block(11, 1001)).state is OrderState.ASSIGNED
    source, _, expiry, payment = world.node.terms
    world.node.terms = (source, "https://ipfs.test/ipfs/another", expiry, payment)
    world.node.status = TaskStatus.CANCELED
    assert (await world.block(12, 1002)).address == TASK  # believed once a later block says so, too
    gone = await world.block(13, 1003)
    assert (gone.address, gone.state) == (None, OrderState.ASSIGNED)
    await world.block(14, 1004)
    assert ((back := await world.block(15, 1005)).provider, back.state) == (None, OrderState.CREATED)
    failed = await world.block(16, 5000)
    assert (failed.state, failed.code, failed.refunded) == (OrderState.FAILED, "publish.undone", True)


async def test_an_order_that_is_published_takes_its_address_from_one_that_was_undone(world: World) -> None:
    key, _ = await a_key(world.store, "second")
    other = await an_order(world.store, key, 2, at=1001.0)
    other = await world.store.move(other, "published", at=1001.5, address=TASK, pinned=True)
    assert other.address == TASK
    first = await world.order()
    assert first.address is None
    assert [event.kind for event in await world.store.history(first.id)][-1] == "publication_undone"
    assert (await world.store.order_at(TASK)) == other
