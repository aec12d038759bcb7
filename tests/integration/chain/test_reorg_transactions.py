"""Blocks undone to every depth under a transaction in every state: one effect, the same bytes, one nonce.

The judge is the node: which of the signed bytes are on its chain, and which effects its logs show.
"""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from ogpu_provider.devnet.deployment import COIN
from ogpu_provider.domain.intent import Intent, IntentState
from ogpu_provider.domain.units import Address, Hash
from tests.fakes.clock import BriskClock
from tests.integration.chain.host import LINK, Host, a_host

pytestmark = pytest.mark.devnet
DEPTHS = range(1, 13)
FAR = 2e9
"""A deadline that does not come, unix seconds."""
S = IntentState


@dataclass
class Case:
    """One transaction in one state, `depth` blocks below the head where it is in a block."""

    host: Host
    task: Address
    depth: int

    def attempt(self, deadline: float = FAR) -> Intent:
        return self.host.chain.intent_attempt(self.task, COIN, deadline)

    async def mine(self, blocks: int = 1) -> None:
        await self.host.rpc.call("anvil_mine", hex(blocks))

    async def plan(self, intent: Intent, state: IntentState) -> Intent:
        await self.host.plan(intent)
        await self.host.until(intent, lambda row: row.state is state)
        return intent

    async def bury(self, intent: Intent, state: IntentState) -> Intent:
        """In a block, with as many blocks on top as make the reorganisation just undo it."""
        await self.plan(intent, S.SENT)
        await self.mine()
        if self.depth > 1:
            await self.mine(self.depth - 1)
        await self.host.until(intent, lambda row: row.state is state)
        return intent

    async def settled(self, intent: Intent, state: IntentState) -> None:
        """Blocks go on until it has its end on the chain, and some more, in which a mistake would show."""
        clock = BriskClock()
        async for _ in _soon():
            row = await self.host.store.intent(intent.key)
            assert row is not None
            if row.state is state and await self.receipt(row.tx_hash):
                break
            await self.mine(2)
            await clock.sleep(5)
        await self.mine(3)
        await clock.sleep(10)
        await self.host.until(intent, lambda row: row.state is state)

    async def receipt(self, tx_hash: str | None) -> object:
        return await self.host.rpc.call("eth_getTransactionReceipt", tx_hash)


Scene = Callable[[Case], Awaitable[tuple[Intent, Callable[[], Awaitable[None]]]]]
"""Brings a transaction into a state; gives it, and what goes on after the reorganisation."""


async def nothing() -> None: ...


async def planned(case: Case) -> tuple[Intent, Callable[[], Awaitable[None]]]:
    case.host.signer.free.clear()

    async def sign() -> None:
        case.host.signer.free.set()

    return await case.plan(case.attempt(), S.PLANNED), sign


async def signed(case: Case) -> tuple[Intent, Callable[[], Awaitable[None]]]:
    case.host.faults = ["down"] * 100_000

    async def send() -> None:
        case.host.faults = []

    return await case.plan(case.attempt(), S.SIGNED), send


async def sent(case: Case) -> tuple[Intent, Callable[[], Awaitable[None]]]:
    return await case.plan(case.attempt(), S.SENT), nothing


async def mined(case: Case) -> tuple[Intent, Callable[[], Awaitable[None]]]:
    return await case.bury(case.attempt(), S.MINED), nothing


async def confirmed(case: Case) -> tuple[Intent, Callable[[], Awaitable[None]]]:
    return await case.bury(case.attempt(), S.CONFIRMED), nothing


async def reverted(case: Case) -> tuple[Intent, Callable[[], Awaitable[None]]]:
    unpromised = case.host.chain.intent_submit(case.task, LINK, COIN, FAR)
    return await case.bury(unpromised, S.REVERTED), nothing


async def abandoned(case: Case) -> tuple[Intent, Callable[[], Awaitable[None]]]:
    """Its deadline passed before any node had it, so its nonce was used up by a void."""
    case.host.faults = ["down"] * 100_000
    intent = await case.plan(case.attempt(await case.host.network.now() + 15), S.SIGNED)
    await case.host.network.pass_time(20)
    async for _ in _soon():
        if len(await case.host.store.signed(intent.key)) == 2:
            break
    case.host.faults = []
    await case.host.until(intent, lambda row: row.state is S.SENT)
    await case.mine(case.depth)
    await case.host.until(intent, lambda row: row.state is S.ABANDONED)
    return intent, nothing


async def replaced(case: Case) -> tuple[Intent, Callable[[], Awaitable[None]]]:
    """No block took its first bytes any more, so they were signed again, dearer, and those are in a block."""
    intent = await case.plan(case.attempt(), S.SENT)
    (tx,) = await case.host.store.signed(intent.key)
    await case.host.rpc.call("anvil_dropTransaction", tx.hash)
    await case.host.rpc.call("anvil_setNextBlockBaseFeePerGas", hex(3 * tx.max_fee))
    await case.mine(2)
    async for _ in _soon():
        row = await case.host.store.intent(intent.key)
        if len(await case.host.store.signed(intent.key)) > 1 and row is not None and row.state is S.SENT:
            break
    await case.mine(case.depth)
    await case.host.until(intent, lambda row: row.state is S.MINED)
    return intent, nothing


async def _soon() -> AsyncIterator[None]:
    for _ in range(500):
        yield
        await BriskClock().sleep(4)
    raise AssertionError("waited 10 s")


REPLACED = "replaced"
SCENES: dict[str, tuple[Scene, IntentState, int]] = {
    S.PLANNED: (planned, S.CONFIRMED, 1),
    S.SIGNED: (signed, S.CONFIRMED, 1),
    S.SENT: (sent, S.CONFIRMED, 1),
    S.MINED: (mined, S.CONFIRMED, 1),
    S.CONFIRMED: (confirmed, S.CONFIRMED, 1),
    S.REVERTED: (reverted, S.REVERTED, 0),
    S.ABANDONED: (abandoned, S.ABANDONED, 0),
    REPLACED: (replaced, S.CONFIRMED, 1),
}
"""For each state: how it is reached, how it ends, and how many attempts there are in the end."""
BURIED = frozenset({S.MINED, S.CONFIRMED, S.REVERTED, S.ABANDONED, REPLACED})
"""States of a transaction that is in a block: after the reorganisation the same bytes are sent once more."""
UNSENT = frozenset({S.PLANNED, S.SIGNED})


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    """One for each state: anvil 1.7 loses contracts where it undoes blocks after the first thousand."""
    async with a_host(tmp_path, block_time=3600) as host:
        await host.rpc.call("evm_setAutomine", False)
        yield host


def test_there_is_a_scene_for_every_state() -> None:
    assert set(SCENES) == {*IntentState, REPLACED}


@pytest.mark.parametrize("state", SCENES)
async def test_a_reorganisation_of_any_depth_leaves_one_effect(host: Host, state: str) -> None:
    scene, end, attempts = SCENES[state]
    for depth, task in zip(DEPTHS, await a_source_with_tasks(host, len(DEPTHS)), strict=True):
        case = Case(host, task, depth)
        async with following(host, depth if state in (S.MINED, REPLACED) else depth - 1):
            before = await host.nonce()
            intent, go_on = await scene(case)
            sends = Counter(host.sends)
            await host.rpc.call("anvil_reorg", depth, [])
            await go_on()
            await case.settled(intent, end)
        made = await host.store.signed(intent.key)
        assert len(made) == (2 if state in (S.ABANDONED, REPLACED) else 1), depth
        assert {tx.nonce for tx in made} == {before}, depth
        assert await host.nonce() == before + 1, depth
        there = [bool(await case.receipt(tx.hash)) for tx in made]
        assert there == [False] * (len(made) - 1) + [True], depth
        last = "0x" + made[-1].raw.hex()
        assert host.sends[last] - sends[last] == (state in UNSENT | BURIED), depth
        seen = await host.logged(task)
        assert (seen.count("Attempted"), seen.count("ResponseSubmitted")) == (attempts, 0), depth


@asynccontextmanager
async def following(host: Host, confirmations: int) -> AsyncIterator[None]:
    """The host from some blocks ago, at the head now."""
    head = int(await host.rpc.call("eth_blockNumber"), 16)
    start = await host.rpc.call("eth_getBlockByNumber", hex(head - 13), False)
    async with host.running(confirmations=confirmations, clock=BriskClock(), start=(head - 13, Hash(start["hash"]))):
        async for _ in _soon():
            if host.head.block is not None and host.head.block.number >= head:
                break
        yield


async def a_source_with_tasks(host: Host, tasks: int) -> list[Address]:
    """A source that we are registered to, with tasks that no reorganisation reaches."""
    source = await host.network.source()
    await host.network.register(source, host.network.provider)
    made = [Address(await host.network.task(source, COIN // 10)) for _ in range(tasks)]
    await host.rpc.call("anvil_mine", hex(30))
    return made
