"""What the Chain port promises, asked of the reader over real contracts and of its fake."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

import pytest

from ogpu_provider.chain.networks import devnet
from ogpu_provider.chain.reader import ChainReader
from ogpu_provider.chain.rpc import Rpc
from ogpu_provider.devnet.accounts import role
from ogpu_provider.devnet.deployment import COIN, deploy
from ogpu_provider.devnet.jsonrpc import JsonRpc
from ogpu_provider.devnet.node import Node
from ogpu_provider.domain.errors import ChainError
from ogpu_provider.domain.facts import TaskStatus
from ogpu_provider.domain.intent import Effect
from ogpu_provider.domain.source import DeliveryMethod, Environment, SourceStatus
from ogpu_provider.domain.units import Address
from ogpu_provider.pipeline.ports import Chain
from tests.fakes.chain import OTHER, FakeChain
from tests.fakes.clock import FakeClock
from tests.integration.devnet.conftest import FIRST, MANUAL, Network

NOBODY = Address("0x00000000000000000000000000000000DeaDBeef")


class World(Protocol):
    """What clients and providers do, whichever chain it is. `us`: by the provider that asks, or by another."""

    chain: Chain

    async def publish_source(self, delivery: DeliveryMethod = DeliveryMethod.FIRST_RESPONSE) -> Address: ...
    async def register(self, source: Address, environment: Environment, us: bool = True) -> None: ...
    async def unregister(self, source: Address, us: bool = True) -> None: ...
    async def inactivate(self, source: Address) -> None: ...
    async def publish_task(self, source: Address, lasts: int = 600) -> Address: ...
    async def attempt(self, task: Address, us: bool = True) -> None: ...
    async def submit(self, task: Address, us: bool = True) -> None: ...
    async def cancel(self, task: Address) -> None: ...
    async def pass_time(self, seconds: int) -> None: ...


class FakeWorld:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.fake = FakeChain(self.clock)
        self.chain: Chain = self.fake

    async def publish_source(self, delivery: DeliveryMethod = DeliveryMethod.FIRST_RESPONSE) -> Address:
        both = frozenset({Environment.CPU, Environment.NVIDIA})
        return self.fake.publish_source(environments=both, delivery=delivery).source

    async def register(self, source: Address, environment: Environment, us: bool = True) -> None:
        self.fake.register(source, None if us else OTHER, environment)

    async def unregister(self, source: Address, us: bool = True) -> None:
        self.fake.unregister(source, None if us else OTHER)

    async def inactivate(self, source: Address) -> None:
        self.fake.inactivate_source(source)

    async def publish_task(self, source: Address, lasts: int = 600) -> Address:
        return self.fake.publish_task(source, payment=COIN, lasts=lasts).task

    async def attempt(self, task: Address, us: bool = True) -> None:
        self.fake.attempt(task, None if us else OTHER)

    async def submit(self, task: Address, us: bool = True) -> None:
        self.fake.submit(task, None if us else OTHER)

    async def cancel(self, task: Address) -> None:
        self.fake.cancel(task)

    async def pass_time(self, seconds: int) -> None:
        await self.clock.advance(seconds)


class Impatient(FakeClock):
    """Nothing is worth waiting for: the node has what it has."""

    async def sleep(self, seconds: float) -> None:
        self._now += seconds


class DevnetWorld:
    def __init__(self, network: Network, chain: ChainReader, clock: FakeClock) -> None:
        self.network = network
        self.chain: Chain = chain
        self.clock = clock
        self._who = {True: role("provider"), False: role("provider2")}

    async def publish_source(self, delivery: DeliveryMethod = DeliveryMethod.FIRST_RESPONSE) -> Address:
        method = FIRST if delivery is DeliveryMethod.FIRST_RESPONSE else MANUAL
        return Address(await self.network.source(delivery=method))

    async def register(self, source: Address, environment: Environment, us: bool = True) -> None:
        await self.network.register(source, self._who[us], int(environment))

    async def unregister(self, source: Address, us: bool = True) -> None:
        who = self._who[us]
        await self.network.act(who, "Nexus", "unregister", source, who.address)

    async def inactivate(self, source: Address) -> None:
        await self.network.act(self.network.client, "Nexus", "inactivateSource", source)

    async def publish_task(self, source: Address, lasts: int = 600) -> Address:
        return Address(await self.network.task(source, lasts=lasts))

    async def attempt(self, task: Address, us: bool = True) -> None:
        await self.network.attempt(task, self._who[us])

    async def submit(self, task: Address, us: bool = True) -> None:
        await self.network.submit(task, self._who[us], data=f"ipfs://{us}")

    async def cancel(self, task: Address) -> None:
        await self.network.act(self.network.client, "Controller", "cancelTask", task)

    async def pass_time(self, seconds: int) -> None:
        await self.network.pass_time(seconds)
        await self.clock.advance(seconds)


@pytest.fixture(params=["fake", pytest.param("devnet", marks=pytest.mark.devnet)])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    if request.param == "fake":
        yield FakeWorld()
        return
    async with (
        Node(tmp_path / "node.log", block_time=3600) as node,
        JsonRpc(node.rpc_url) as setup,
        Rpc(devnet(node.rpc_url)) as rpc,
    ):
        network = Network(setup, node.rpc_url, await deploy(node.rpc_url))
        for number in (1, 2):
            await network.pair(number)
        await network.deposit(network.client, 100 * COIN)
        clock = Impatient(float(await network.now()))
        reader = ChainReader(rpc, rpc.network, Address(role("provider").address), clock=clock)
        yield DevnetWorld(network, reader, clock)


async def test_a_published_task_is_told_by_its_parameters(world: World) -> None:
    source = await world.publish_source()
    task = await world.publish_task(source)
    view = await world.chain.published(task)
    assert (view.address, view.source, view.payment, view.status) == (task, source, COIN, TaskStatus.NEW)
    assert view.config_url.startswith("http")
    assert view.expiry > 1_600_000_000


async def test_an_attempt_is_seen_as_ours_in_whichever_slot(world: World) -> None:
    source = await world.publish_source()
    for us in (True, False):
        await world.register(source, Environment.CPU, us)
    first, second, theirs, nobodys = [await world.publish_task(source) for _ in range(4)]
    await world.attempt(first)  # slot 0
    await world.attempt(second, us=False)
    await world.attempt(second)  # slot 1
    await world.attempt(theirs, us=False)  # slot 0 is theirs, and absent reads 0 too
    seen = [await world.chain.standing(task) for task in (first, second, theirs, nobodys)]
    assert [view.attempted_by_us for view in seen] == [True, True, False, False]
    assert [view.status.name for view in seen] == ["ATTEMPTED", "ATTEMPTED", "ATTEMPTED", "NEW"]
    assert {view.our_response for view in seen} == {view.winner for view in seen} == {None}


async def test_the_first_response_wins(world: World) -> None:
    source = await world.publish_source()
    await world.register(source, Environment.CPU)
    task = await world.publish_task(source)
    assert await world.chain.winner(task) is None
    await world.attempt(task)
    await world.submit(task)
    view = await world.chain.standing(task)
    assert view.status is TaskStatus.FINALIZED
    assert view.our_response is not None
    assert view.winner == await world.chain.winner(task) == world.chain.provider


async def test_somebody_else_wins(world: World) -> None:
    source = await world.publish_source()
    await world.register(source, Environment.CPU, us=False)
    task = await world.publish_task(source)
    await world.attempt(task, us=False)
    await world.submit(task, us=False)
    view = await world.chain.standing(task)
    assert view.winner not in (None, world.chain.provider)
    assert (view.attempted_by_us, view.our_response) == (False, None)


async def test_a_response_that_waits_for_the_client_has_no_winner(world: World) -> None:
    source = await world.publish_source(DeliveryMethod.MANUAL_CONFIRMATION)
    await world.register(source, Environment.CPU)
    task = await world.publish_task(source)
    await world.attempt(task)
    await world.submit(task)
    view = await world.chain.standing(task)
    assert (view.status, view.winner) == (TaskStatus.RESPONDED, None)
    assert view.our_response is not None


async def test_open_tasks_are_the_live_ones_newest_first(world: World) -> None:
    source, foreign = await world.publish_source(), await world.publish_source()
    await world.register(source, Environment.CPU)
    assert await world.chain.open_tasks(source) == []
    short = await world.publish_task(source, lasts=60)
    open_, tried, canceled, done = [await world.publish_task(source) for _ in range(4)]
    await world.publish_task(foreign)
    await world.attempt(tried)
    await world.cancel(canceled)
    await world.attempt(done)
    await world.submit(done)
    await world.pass_time(120)
    found = await world.chain.open_tasks(source)
    assert [view.address for view in found] == [tried, open_]
    assert [view.attempted_by_us for view in found] == [True, False]
    assert (await world.chain.standing(short)).status is TaskStatus.NEW  # dead, though the chain does not say so


async def test_a_source_is_told_with_its_status(world: World) -> None:
    source = await world.publish_source(DeliveryMethod.MANUAL_CONFIRMATION)
    params = await world.chain.source(source)
    assert (params.address, params.status) == (source, SourceStatus.ACTIVE)
    assert params.environments == {Environment.CPU, Environment.NVIDIA}
    assert params.delivery is DeliveryMethod.MANUAL_CONFIRMATION
    assert params.max_expiry_duration == 3600
    await world.inactivate(source)
    assert (await world.chain.source(source)).status is SourceStatus.INACTIVE


async def test_all_sources_are_listed_in_order(world: World) -> None:
    assert await world.chain.all_sources() == []
    published = [await world.publish_source() for _ in range(3)]
    assert await world.chain.all_sources() == published


async def test_a_registration_is_known_until_it_ends(world: World) -> None:
    source = await world.publish_source()
    assert await world.chain.registered_environment(source) is None
    await world.register(source, Environment.CPU, us=False)
    assert await world.chain.registered_environment(source) is None
    await world.register(source, Environment.NVIDIA)
    assert await world.chain.registered_environment(source) is Environment.NVIDIA
    await world.unregister(source)
    assert await world.chain.registered_environment(source) is None


async def test_what_is_not_there_is_an_error_that_may_pass(world: World) -> None:
    for ask in (world.chain.published, world.chain.standing, world.chain.source):
        with pytest.raises(ChainError) as caught:
            await ask(NOBODY)
        assert (caught.value.code, str(caught.value.retry)) == ("chain.empty_answer", "later")


async def test_intents_are_keyed_by_chain_effect_and_subject(world: World) -> None:
    source = await world.publish_source()
    task = await world.publish_task(source)
    attempt = world.chain.intent_attempt(task, COIN, 7.0)
    submit = world.chain.intent_submit(task, "https://example.org/r", COIN, 8.0)
    register = world.chain.intent_register(source, Environment.CPU)
    assert [one.key for one in (attempt, submit, register)] == [
        f"200820172034:attempt:{task}",
        f"200820172034:submitResponse:{task}",
        f"200820172034:register:{source}",
    ]
    assert [one.effect for one in (attempt, submit, register)] == [
        Effect.ATTEMPT,
        Effect.SUBMIT_RESPONSE,
        Effect.REGISTER,
    ]
    assert [one.deadline for one in (attempt, submit, register)] == [7.0, 8.0, None]
    assert {one.to for one in (attempt, submit, register)} == {"0xF87bb2f3edB991a998992f14d35fE142e6Bb50b1"}
