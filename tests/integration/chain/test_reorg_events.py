"""Every kind of event that the daemon reads, undone at every depth and then published again in another block.

What must hold: what the path did on its word is taken back, and done again when it comes again; at most one attempt
and one response of ours are on the chain.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path as Folder
from typing import get_args

import pytest

from ogpu_provider.chain.fees import GWEI, FeeCaps
from ogpu_provider.devnet.deployment import COIN
from ogpu_provider.domain import facts
from ogpu_provider.domain.facts import Fact
from ogpu_provider.domain.intent import IntentState
from ogpu_provider.domain.source import SourceState
from ogpu_provider.domain.task import TaskState
from ogpu_provider.domain.units import Address
from ogpu_provider.pipeline.reliance import by_another
from tests.integration.chain.host import Host, a_host
from tests.integration.chain.path import LONG, OTHER_URL, SOURCE_URL, Path, a_path
from tests.integration.devnet.conftest import MANUAL, Terms

pytestmark = pytest.mark.devnet
DEPTHS = range(1, 13)
DEEP = 14
"""Blocks that no reorganisation here reaches below."""
Look = Callable[[], Awaitable[object]]


@dataclass
class Event:
    """One that was just mined. `there` and `gone`: what the path makes of it, and of its being undone.

    `back`: what it makes of it when it comes again, None where it cannot, because we have done it ourselves by then.
    """

    there: Look
    gone: Look
    back: Look | None
    task: Address | None = None


@dataclass
class Stage:
    """The path, a source of ours, and a task that keeps the only slot busy."""

    path: Path
    source: Address
    depth: int = 0

    async def waiting(self) -> Address:
        """A task that waits for the slot."""
        task = Address(await self.path.host.network.task(self.source, COIN // 100, LONG))
        await self.path.until(self.state(task, TaskState.SEEN), "the task waits")
        return task

    def state(self, task: Address, *states: TaskState) -> Look:
        async def look() -> bool:
            row = await self.path.row(task)
            return row is not None and row.state in states

        return look

    def obliged(self, task: Address, wanted: bool) -> Look:
        async def look() -> bool:
            row = await self.path.row(task)
            return row is not None and row.obliged is wanted

        return look

    def source_is(self, source: Address, *states: SourceState) -> Look:
        async def look() -> bool:
            row = self.path.daemon.ports.book.get(source)
            return row is not None and row.state in states

        return look

    def registered(self, source: Address) -> Look:
        async def look() -> bool:
            ready = await self.source_is(source, SourceState.READY)()
            return bool(ready) and await self.path.host.chain.registered_environment(source) is not None

        return look


async def task_published(stage: Stage) -> Event:
    task = Address(await stage.path.host.network.task(stage.source, COIN // 100, LONG))
    seen = stage.state(task, TaskState.SEEN)
    return Event(seen, stage.state(task, TaskState.DECLINED), seen, task)


async def attempted(stage: Stage) -> Event:
    """By the agent, for us."""
    task = await stage.waiting()
    await stage.path.mine(DEEP)
    network = stage.path.host.network
    await network.attempt(task, network.provider, by=network.agent)
    return Event(stage.obliged(task, True), stage.obliged(task, False), stage.obliged(task, True), task)


async def response_submitted(stage: Stage) -> Event:
    """Ours: the sender sends it again by itself."""
    path = stage.path
    source = await path.source(delivery=MANUAL)
    await path.registered(source)
    await path.ready(source)
    path.answers(source, False)
    task = Address(await path.host.network.task(source, COIN // 100, LONG))
    await path.until(stage.state(task, TaskState.EXECUTING), "it is at work", blocks=1)
    await path.mine(DEEP)
    assert path.outside.runtime.deliver is not None
    await path.outside.runtime.deliver(source, task, b"{}")
    submit = path.host.chain.intent_submit(task, "", 0, 0.0)
    await path.host.until(submit, lambda row: row.state is IntentState.SENT)
    await path.mine()

    async def undone() -> bool:
        lines = [line.after for line in await path.host.store.history(task)]
        return (TaskState.RESPONDED, TaskState.SUBMITTED) in pairwise(lines)

    responded = stage.state(task, TaskState.RESPONDED)
    return Event(responded, undone, responded, task)


async def task_status_changed(stage: Stage) -> Event:
    task = await stage.waiting()
    await stage.path.mine(DEEP)
    network = stage.path.host.network
    await network.act(network.client, "Controller", "cancelTask", task)
    canceled = stage.state(task, TaskState.CANCELED)
    return Event(canceled, stage.state(task, TaskState.SEEN), canceled, task)


async def registered(stage: Stage) -> Event:
    """By the agent, for us: once undone we do it ourselves."""
    path = stage.path
    source = await path.source()
    await path.mine(DEEP)
    await path.registered(source)
    return Event(stage.registered(source), stage.registered(source), None)


async def source_published(stage: Stage) -> Event:
    """With all sources served: its registration is undone with it."""
    await stage.path.mine(DEEP)
    source = await stage.path.source()
    there = stage.source_is(source, SourceState.WANTED, SourceState.READY)
    return Event(there, stage.source_is(source, SourceState.UNFIT), stage.registered(source))


async def source_updated(stage: Stage) -> Event:
    path, source = stage.path, await _ready_source(stage)
    params = Terms(client=path.host.network.client.address, metadata=OTHER_URL)

    def metadata(url: str) -> Look:
        async def look() -> bool:
            row = path.daemon.ports.book.get(source)
            return row is not None and row.params is not None and row.params.metadata_url == url

        return look

    await path.host.network.act(path.host.network.client, "Nexus", "updateSource", source, params.tuple())
    return Event(metadata(OTHER_URL), metadata(SOURCE_URL), metadata(OTHER_URL))


async def source_status_changed(stage: Stage) -> Event:
    network, source = stage.path.host.network, await _ready_source(stage)
    await network.act(network.client, "Nexus", "inactivateSource", source)
    dropped = stage.source_is(source, SourceState.DROPPED)
    return Event(dropped, stage.source_is(source, SourceState.READY), dropped)


async def remove_container(stage: Stage) -> Event:
    network, source = stage.path.host.network, await _ready_source(stage)
    await network.act(network.master, "Terminal", "removeContainer", network.provider.address, source)
    dropped = stage.source_is(source, SourceState.DROPPED)
    return Event(dropped, stage.source_is(source, SourceState.READY), dropped)


async def provider_removed(stage: Stage) -> Event:
    network, book = stage.path.host.network, stage.path.daemon.ports.book
    await stage.path.mine(DEEP)
    await network.act(network.master, "Terminal", "removeProvider", network.provider.address)

    async def unpaired() -> bool:
        return not book.paired

    async def paired() -> bool:
        return book.paired

    last = stage.depth == DEPTHS[-1]  # pairing again takes the provider's key, which is our sender's alone
    return Event(unpaired, paired, unpaired if last else None)


async def _ready_source(stage: Stage) -> Address:
    source = await stage.path.source()
    await stage.path.registered(source)
    await stage.path.ready(source)
    await stage.path.mine(DEEP)
    return source


SCENES: dict[type[Fact], Callable[[Stage], Awaitable[Event]]] = {
    facts.TaskPublished: task_published,
    facts.Attempted: attempted,
    facts.ResponseSubmitted: response_submitted,
    facts.TaskStatusChanged: task_status_changed,
    facts.Registered: registered,
    facts.SourcePublished: source_published,
    facts.SourceUpdated: source_updated,
    facts.SourceStatusChanged: source_status_changed,
    facts.RemoveContainer: remove_container,
    facts.ProviderRemoved: provider_removed,
}


def test_there_is_a_scene_for_every_kind_of_event() -> None:
    assert set(SCENES) == set(get_args(Fact))


@pytest.fixture
async def host(tmp_path: Folder) -> AsyncIterator[Host]:
    async with a_host(tmp_path, block_time=3600) as host:
        await host.rpc.call("evm_setAutomine", False)
        yield host


@pytest.mark.parametrize("kind", SCENES, ids=lambda kind: kind.__name__)
async def test_an_event_that_is_undone_is_taken_back_and_one_that_comes_again_counts_again(
    host: Host, kind: type[Fact]
) -> None:
    everything = kind is facts.SourcePublished
    slots = 1 + len(DEPTHS) if kind is facts.ResponseSubmitted else 1
    async with a_path(host, slots=slots, serve_all=everything) as path:
        source = await path.source()
        path.answers(source, False)
        if not everything:  # then the path does it
            await path.registered(source)
        await path.ready(source)
        stage = Stage(path, source)
        busy = Address(await host.network.task(source, COIN // 100, LONG))
        await path.until(stage.state(busy, TaskState.EXECUTING), "the slot is busy")
        await path.mine(DEEP)
        for depth in DEPTHS:
            stage.depth = depth
            event = await SCENES[kind](stage)
            await undo_and_publish_again(path, event, depth)
            if event.task is not None:
                seen = await host.logged(event.task)
                assert max(seen.count("Attempted"), seen.count("ResponseSubmitted")) <= 1, depth
            if kind is facts.ResponseSubmitted:
                assert event.task is not None
                (tx,) = await host.store.signed(host.chain.intent_submit(event.task, "", 0, 0.0).key)
                assert host.sends["0x" + tx.raw.hex()] == 2, "the same bytes once more"


async def undo_and_publish_again(path: Path, event: Event, depth: int) -> None:
    rpc = path.host.rpc
    block = await rpc.call("eth_getBlockByNumber", "latest", True)
    mine = path.host.network.provider.address.lower()
    others = [tx["hash"] for tx in block["transactions"] if tx["from"].lower() != mine]
    raws = [await rpc.call("eth_getRawTransactionByHash", name) for name in others]
    await path.mine(depth - 1)
    await path.heard()
    await path.until(event.there, f"the event counts, {depth} deep")
    await rpc.call("anvil_reorg", depth, [])
    await path.until(event.gone, f"the event is taken back, {depth} deep", blocks=1)
    if event.back is not None:
        for raw in raws:
            await rpc.call("eth_sendRawTransaction", raw)
        await path.until(event.back, f"the event counts again, {depth} deep", blocks=1)
    await path.heard()


async def test_work_on_a_task_that_never_comes_back_ends_and_frees_what_it_held(host: Host) -> None:
    """Attempted already: the attempt is sent again, and reverts, because there is no such task any more."""
    async with a_path(host) as path:
        source = await path.source()
        path.answers(source, False)
        await path.registered(source)
        await path.ready(source)
        for depth in DEPTHS:
            await path.mine(DEEP)
            task = Address(await host.network.task(source, COIN // 100, LONG))
            stage = Stage(path, source)
            await path.until(stage.state(task, TaskState.EXECUTING), "it is at work")
            await path.mine(depth - 1)
            await path.heard()
            await host.rpc.call("anvil_reorg", depth, [])
            await path.until(stage.state(task, TaskState.FAILED), f"it is given up, {depth} deep", blocks=1)
            row = await path.row(task)
            assert row is not None
            assert row.code == "chain.undone"
            assert not any(holder.startswith("task:") for holder in path.daemon.leases)
            assert await host.logged(task) == []
            await host.network.task(source, COIN // 100, LONG)  # takes the address, and is left alone for it


async def promised_by_an_agent(path: Path, source: Address) -> Address:
    """A task at work on the agent's word, while the only slot is free of what it waited for."""
    network, stage = path.host.network, Stage(path, source)
    busy = Address(await network.task(source, COIN // 100, LONG))
    await path.until(stage.state(busy, TaskState.EXECUTING), "the slot is busy")
    task = await stage.waiting()
    await path.mine(DEEP)
    await network.attempt(task, network.provider, by=network.agent)
    await path.until(stage.obliged(task, True), "it is an obligation")
    assert path.outside.runtime.deliver is not None
    await path.outside.runtime.deliver(source, busy, b"{}")  # its slot is free now
    await path.until(stage.state(task, TaskState.EXECUTING), "it is at work")
    assert await path.host.store.intent(path.host.chain.intent_attempt(task, 0, 0.0).key) is None
    return task


async def kept_by_ourselves(path: Path, source: Address, task: Address, depth: int) -> None:
    """Its attempt is ours now, and it is paid."""

    async def promised() -> bool:
        return "Attempted" in await path.host.logged(task)

    await path.until(promised, f"it is promised again, {depth} deep", blocks=1)
    assert path.outside.runtime.deliver is not None
    await path.outside.runtime.deliver(source, task, b"{}")
    await path.until(Stage(path, source).state(task, TaskState.SETTLED), f"it is paid, {depth} deep", blocks=1)
    seen = await path.host.logged(task)
    assert (seen.count("Attempted"), seen.count("ResponseSubmitted")) == (1, 1), depth


async def test_a_promise_of_an_agent_that_is_undone_is_made_anew_by_ourselves(host: Host) -> None:
    """It was at work on the agent's word; the agent's transaction never comes back."""
    async with a_path(host) as path:
        source = await path.source()
        path.answers(source, False)
        await path.registered(source)
        await path.ready(source)
        for depth in DEPTHS:
            task = await promised_by_an_agent(path, source)
            await path.mine(depth - 1)
            await path.heard()
            await host.rpc.call("anvil_reorg", depth, [])
            await kept_by_ourselves(path, source, task, depth)


@pytest.mark.parametrize(("depth", "early"), [*((depth, depth % 2 == 0) for depth in DEPTHS), (1, True), (12, False)])
async def test_a_promise_of_an_agent_that_is_undone_while_the_daemon_is_down_is_made_anew_by_its_next_run(
    host: Host, depth: int, early: bool
) -> None:
    """`early`: its result is there before the chain is as long as it was, and the response has to have its attempt."""
    async with a_path(host) as path:
        source = await path.source()
        path.answers(source, False)
        await path.registered(source)
        await path.ready(source)
        task = await promised_by_an_agent(path, source)
        await path.mine(depth - 1)
        await path.heard()
        outside = path.outside
    await host.rpc.call("anvil_reorg", depth, [])
    assert "Attempted" not in await host.logged(task)
    async with a_path(host, outside=outside) as path:
        if early:
            assert outside.runtime.deliver is not None
            await outside.runtime.deliver(source, task, b"{}")
        await kept_by_ourselves(path, source, task, depth)


async def answered_on_an_agents_word(path: Path, source: Address) -> Address:
    """Our attempt was too dear to be signed, the agent's was seen meanwhile; our response is in the newest block."""
    network, stage, rpc = path.host.network, Stage(path, source), path.host.rpc
    await rpc.call("anvil_setNextBlockBaseFeePerGas", hex(2 * FeeCaps().absolute))
    await path.mine()  # each block after it is an eighth cheaper at most
    task = Address(await network.task(source, COIN // 100, LONG))
    await path.until(stage.state(task, TaskState.EXECUTING), "it is at work")
    await network.attempt(task, network.provider, by=network.agent)
    attempt = path.host.chain.intent_attempt(task, 0, 0.0)
    assert by_another(await path.host.until(attempt, lambda row: not row.state.open))
    await rpc.call("anvil_setNextBlockBaseFeePerGas", hex(GWEI))
    await path.mine()
    assert path.outside.runtime.deliver is not None
    await path.outside.runtime.deliver(source, task, b"{}")
    submit = path.host.chain.intent_submit(task, "", 0, 0.0)
    await path.host.until(submit, lambda row: row.state is IntentState.SENT)
    await path.mine()
    await path.host.until(submit, lambda row: row.state is IntentState.MINED)
    return task


@pytest.mark.parametrize("down", [False, True])
async def test_ours_that_was_left_to_an_agent_is_made_when_that_one_is_undone_with_our_response(
    host: Host, down: bool
) -> None:
    async with a_path(host) as path:
        source = await path.source()
        path.answers(source, False)
        await path.registered(source)
        await path.ready(source)
        await path.mine(DEEP)
        task = await answered_on_an_agents_word(path, source)
        outside, settled = path.outside, "it is paid"
        if not down:
            await host.rpc.call("anvil_reorg", 3, [])
            await path.until(Stage(path, source).state(task, TaskState.SETTLED), settled, blocks=1)
    if down:
        await host.rpc.call("anvil_reorg", 3, [])
        assert await host.logged(task) == ["TaskPublished"]
        async with a_path(host, outside=outside) as path:
            await path.until(Stage(path, source).state(task, TaskState.SETTLED), settled, blocks=1)
    seen = await host.logged(task)
    assert (seen.count("Attempted"), seen.count("ResponseSubmitted")) == (1, 1)
