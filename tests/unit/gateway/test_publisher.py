"""What is published can be read: a transaction waits for its config, and an order ends whose config is not taken."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from ogpu_provider.domain.order import Order, OrderState
from ogpu_provider.gateway.bell import Bell
from ogpu_provider.gateway.publisher import AT_ONCE, BETWEEN_S, Publisher
from ogpu_provider.ipfs.cid import cid_v0
from ogpu_provider.ipfs.pinners import OgpuPinner
from ogpu_provider.store.orders import GatewayStore
from tests.fakes.clock import FakeClock
from tests.unit.gateway.orders import a_key, an_order, opened


class Service:
    """A pinning service that answers `status`."""

    def __init__(self) -> None:
        self.status = 200
        self.asked = 0

    async def take(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        return httpx.Response(self.status, json={"link": "https://ipfs.test/ipfs/" + cid_v0(b"{}")})


class World:
    def __init__(self, store: GatewayStore) -> None:
        self.store = store
        self.service = Service()
        self.clock = FakeClock(1000.0)
        self.bell = Bell()
        self.given_up: list[str] = []
        client = httpx.AsyncClient(transport=httpx.MockTransport(self.service.take))
        pinner = OgpuPinner("http://pin.test/file/create", client, attempts=1)
        self.publisher = Publisher(store, pinner, self.clock, self.bell, lambda: None, self.give_up)

    async def give_up(self, order: Order, why: str) -> None:
        self.given_up.append(order.id)
        await self.store.move(order, "failed", at=self.clock.now(), state=OrderState.FAILED, reason=why)

    async def planned(self) -> int:
        return len(await self.store.planned_intents())


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(await opened(tmp_path))
    running = asyncio.create_task(world.publisher.run())
    yield world
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await world.store.close()


async def until(world: World, number: int) -> None:
    async with asyncio.timeout(60):
        while await world.planned() != number:
            await asyncio.sleep(0.01)


async def test_a_transaction_waits_for_its_config(world: World) -> None:
    world.service.status = 503
    key, _ = await a_key(world.store)
    for number in range(2 * AT_ONCE):
        await an_order(world.store, key, number)
    world.bell.ring()
    async with asyncio.timeout(60):
        while world.service.asked < AT_ONCE:
            await asyncio.sleep(0.01)
    assert await world.planned() == 0
    assert world.service.asked == AT_ONCE  # a service that is down is asked no more than that
    world.service.status = 200
    await world.clock.advance(BETWEEN_S)
    await until(world, 2 * AT_ONCE)


@pytest.mark.parametrize(("status", "late"), [(400, False), (503, True)], ids=["refused", "down until it is too late"])
async def test_an_order_whose_config_is_not_taken_ends(world: World, status: int, late: bool) -> None:
    world.service.status = status
    key, _ = await a_key(world.store)
    order = await an_order(world.store, key, 1)
    world.bell.ring()
    async with asyncio.timeout(60):
        while not world.given_up:
            await world.clock.advance(BETWEEN_S if late else 0)
            await asyncio.sleep(0.01)
    assert world.given_up == [order.id]
    assert (world.clock.now() > order.expiry - 60) is late
    await until(world, 1)  # the sender hears of it, and gives it up
