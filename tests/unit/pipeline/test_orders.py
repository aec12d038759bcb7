"""What the operator asks for while tasks are on their way: pause, resume, drain, and leaving a source."""

import asyncio

import pytest

from ogpu_provider.domain.errors import EngineError, Retry
from ogpu_provider.domain.intent import Effect
from ogpu_provider.domain.source import SourceState
from ogpu_provider.domain.task import TaskState
from ogpu_provider.domain.units import Address
from ogpu_provider.domain.wish import Want
from ogpu_provider.pipeline.orders import Left, Orders
from ogpu_provider.pipeline.rows import Unfit
from tests.fakes.chain import US
from tests.fakes.clock import settle
from tests.unit.pipeline.stage import Daemon, Outside, running, serving

S = TaskState


@pytest.fixture
def outside() -> Outside:
    return Outside()


async def orders_of(daemon: Daemon) -> Orders:
    orders = Orders(daemon.ports, daemon.conductor, daemon.keeper.leaving)
    await orders.restore()
    return orders


def row(daemon: Daemon, source: Address) -> tuple[SourceState, str]:
    found = daemon.ports.book.get(source)
    assert found is not None
    return found.state, found.code


async def test_while_paused_new_tasks_are_declined_and_accepted_ones_go_on(outside: Outside) -> None:
    source = outside.source(answers=False)
    async with running(outside) as daemon:
        await serving(daemon, source)
        orders = await orders_of(daemon)
        before = await daemon.publish(source)
        await orders.pause()
        declined = await daemon.publish(source)
        found = await daemon.task(declined)
        assert (found.state, found.code) == (S.DECLINED, "provider.paused")
        await daemon.results.accept(source, before, b'{"result": 1}')
        await settle()
        assert await daemon.state(before) is S.SUBMITTED
        await orders.resume()
        after = await daemon.publish(source)
        assert await daemon.state(after) is S.EXECUTING
        assert await daemon.state(declined) is S.DECLINED, "what was declined is not taken up again"
        assert row(daemon, source) == (SourceState.READY, ""), "containers stay warm"


async def test_a_pause_does_not_touch_obligations(outside: Outside) -> None:
    source = outside.source()
    async with running(outside) as daemon:
        await serving(daemon, source)
        orders = await orders_of(daemon)
        await orders.pause()
        task = await daemon.publish(source)
        assert await daemon.state(task) is S.DECLINED
        await daemon.block(*outside.chain.attempt(task, US))
        assert await daemon.state(task) is S.SUBMITTED


async def test_tasks_that_wait_for_room_are_declined_when_the_pause_begins(outside: Outside) -> None:
    source = outside.source(answers=False)
    async with running(outside, slots=1) as daemon:
        await serving(daemon, source)
        orders = await orders_of(daemon)
        await daemon.publish(source)
        waiting = await daemon.publish(source)
        assert await daemon.state(waiting) is S.SEEN
        await orders.pause()
        await settle()
        assert (await daemon.task(waiting)).code == "provider.paused"


async def test_a_pause_holds_over_a_restart_until_it_is_taken_back(outside: Outside) -> None:
    source = outside.source()
    async with running(outside) as daemon:
        await serving(daemon, source)
        orders = await orders_of(daemon)
        await orders.pause()
        since = orders.paused_since
    async with running(outside) as daemon:
        orders = await orders_of(daemon)
        await serving(daemon, source)
        assert (orders.paused_since, since is not None) == (since, True)
        assert (await daemon.task(await daemon.publish(source))).code == "provider.paused"
        await orders.resume()
    async with running(outside) as daemon:
        orders = await orders_of(daemon)
        await serving(daemon, source)
        assert orders.paused_since is None
        assert await daemon.state(await daemon.publish(source)) is S.SUBMITTED


async def test_a_drain_ends_when_the_last_response_is_in_a_block(outside: Outside) -> None:
    source = outside.source(answers=False)
    async with running(outside) as daemon:
        await serving(daemon, source)
        orders = await orders_of(daemon)
        drained = asyncio.ensure_future(orders.drained())
        task = await daemon.publish(source)
        await daemon.mine()
        await orders.drain()
        await outside.clock.advance(5)
        assert await orders.left() == Left(1, 0)
        assert (await daemon.task(await daemon.publish(source))).code == "provider.paused"
        await daemon.results.accept(source, task, b"{}")
        await outside.clock.advance(5)
        assert await daemon.state(task) is S.SUBMITTED
        assert await orders.left() == Left(0, 1)
        assert not drained.done(), "the response is not in a block yet"
        await daemon.mine()
        await outside.clock.advance(1)
        assert drained.done()
    async with running(outside) as daemon:
        orders = await orders_of(daemon)
        assert not daemon.ports.book.paused, "the order is fulfilled: the next start takes tasks again"


async def test_a_drain_that_was_interrupted_goes_on_and_one_called_off_does_not_end(outside: Outside) -> None:
    source = outside.source(answers=False)
    async with running(outside) as daemon:
        await serving(daemon, source)
        task = await daemon.publish(source)
        await (await orders_of(daemon)).drain()
    async with running(outside) as daemon:
        orders = await orders_of(daemon)
        assert orders.draining_since is not None
        assert daemon.ports.book.paused
        drained = asyncio.ensure_future(orders.drained())
        await outside.clock.advance(2)
        await orders.resume()
        await daemon.results.accept(source, task, b"{}")
        await outside.clock.advance(10)
        assert not drained.done()
        drained.cancel()


async def test_a_pause_from_before_a_drain_outlives_it(outside: Outside) -> None:
    async with running(outside) as daemon:
        orders = await orders_of(daemon)
        await orders.pause()
        await orders.drain()
        await orders.drained()
        assert daemon.ports.book.paused
        assert orders.draining_since is not None, "while it ends, nobody is told that it was called off"
    assert [wish.want for wish in await outside.journal.wishes()] == [Want.PAUSE]


async def test_a_source_that_is_left_finishes_its_work_and_goes_down(outside: Outside) -> None:
    source = outside.source(answers=False)
    async with running(outside) as daemon:
        await serving(daemon, source)
        task = await daemon.publish(source)
        await daemon.keeper.leave(source, unregister=False)
        await settle()
        assert row(daemon, source) == (SourceState.UNFIT, "source.leaving")
        refused = await daemon.publish(source)
        assert (await daemon.task(refused)).code == "source.not_ready"
        assert outside.runtime.stopped == []
        await daemon.results.accept(source, task, b"{}")
        await outside.clock.advance(30)
        assert await daemon.state(task) is S.SUBMITTED
        assert outside.runtime.stopped == [source]
        assert row(daemon, source) == (SourceState.DROPPED, "source.left")
        assert daemon.leases == []
        assert await daemon.mine() == [Effect.ATTEMPT, Effect.SUBMIT_RESPONSE], "nothing is unregistered"


async def test_unregistration_is_sent_after_the_last_response_and_once(outside: Outside) -> None:
    source = outside.source(answers=False)
    async with running(outside) as daemon:
        await serving(daemon, source)
        task = await daemon.publish(source)
        await daemon.keeper.leave(source, unregister=True)
        await daemon.results.accept(source, task, b"{}")
        await outside.clock.advance(16)
        assert await daemon.mine() == [Effect.ATTEMPT, Effect.SUBMIT_RESPONSE, Effect.UNREGISTER]
        await outside.clock.advance(1)
        assert row(daemon, source) == (SourceState.DROPPED, "source.left")
        assert await daemon.mine() == []
        found = daemon.ports.book.get(source)
        assert found is not None
        assert not found.registered


async def test_a_drain_waits_for_the_registration_that_is_undone_when_the_project_is_down(outside: Outside) -> None:
    source = outside.source()
    outside.runtime.scripts[source].fails["down"] = [EngineError("busy", code="engine.busy", retry=Retry.LATER)]
    async with running(outside) as daemon:
        await serving(daemon, source)
        await daemon.keeper.leave(source, unregister=True)
        await settle()
        orders = await orders_of(daemon)
        await orders.drain()
        drained = asyncio.ensure_future(orders.drained())
        await outside.clock.advance(5)
        assert await orders.left() == Left(0, 0, 1), "no transaction is planned yet"
        assert not drained.done()
        await outside.clock.advance(15)
        assert await daemon.mine() == [Effect.UNREGISTER]
        await outside.clock.advance(1)
        assert (drained.done(), await orders.left()) == (True, Left(0, 0))


async def test_a_source_that_was_left_stays_away_over_a_restart_until_it_is_added(outside: Outside) -> None:
    source = outside.source()
    async with running(outside) as daemon:
        await serving(daemon, source)
        await daemon.keeper.leave(source, unregister=False)
        await settle()
    async with running(outside) as daemon:
        await daemon.block(outside.chain.register(source))
        assert row(daemon, source) == (SourceState.DROPPED, "source.left"), "its settings serve all sources"
        with pytest.raises(Unfit):
            daemon.keeper.retry(source)
        await daemon.keeper.add(source)
        await serving(daemon, source)
        assert await daemon.state(await daemon.publish(source)) is S.SUBMITTED


async def test_a_source_paused_for_its_ends_is_tried_again_when_the_operator_says_so(outside: Outside) -> None:
    source = outside.source()
    outside.runtime.scripts[source].fails["up"] = [EngineError("5 times", code="engine.restarts", retry=Retry.NEVER)]
    async with running(outside) as daemon:
        await outside.clock.advance(7200)
        assert row(daemon, source) == (SourceState.UNFIT, "engine.restarts")
        daemon.keeper.retry(source)
        await outside.clock.advance(1)
        assert outside.runtime.forgiven == [source]
        assert row(daemon, source)[0] is SourceState.READY


async def test_a_restart_in_the_middle_of_leaving_goes_on_leaving(outside: Outside) -> None:
    source = outside.source(answers=False)
    async with running(outside) as daemon:
        await serving(daemon, source)
        task = await daemon.publish(source)
        await daemon.keeper.leave(source, unregister=True)
        await settle()
    async with running(outside) as daemon:
        assert row(daemon, source) == (SourceState.UNFIT, "source.leaving")
        await daemon.results.accept(source, task, b"{}")
        await outside.clock.advance(16)
        assert await daemon.mine() == [Effect.ATTEMPT, Effect.SUBMIT_RESPONSE, Effect.UNREGISTER]


async def test_a_source_added_again_while_it_is_being_left_is_served_on(outside: Outside) -> None:
    source = outside.source(answers=False)
    async with running(outside) as daemon:
        await serving(daemon, source)
        task = await daemon.publish(source)
        await daemon.keeper.leave(source, unregister=True)
        await settle()
        await daemon.keeper.add(source)
        await settle()
        assert row(daemon, source) == (SourceState.READY, "")
        await daemon.results.accept(source, task, b"{}")
        await outside.clock.advance(60)
        assert outside.runtime.stopped == []
        assert await daemon.mine() == [Effect.ATTEMPT, Effect.SUBMIT_RESPONSE]
