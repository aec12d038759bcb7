"""What nodes say of our account, true or not: nothing that would cost is taken on the word of one."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ogpu_provider.chain.account import Account, AccountReader
from ogpu_provider.chain.fees import FeeCaps, Suggestion
from ogpu_provider.chain.wire import Call, JsonRpcError
from ogpu_provider.domain.errors import RpcUnavailable
from ogpu_provider.domain.facts import Block
from ogpu_provider.domain.intent import IntentState
from ogpu_provider.domain.units import Address, Hash
from tests.fakes.clock import settle
from tests.fakes.mempool import GWEI, FakeMempool
from tests.unit.chain.sending import World, intent

ME = Address("0x" + "a1" * 20)
COUNT, TIP, PRICE = "eth_getTransactionCount", "eth_maxPriorityFeePerGas", "eth_gasPrice"
TRUE: dict[str, Any] = {COUNT: "0x5", TIP: "0x2", PRICE: "0x7", "eth_blockNumber": "0x64"}
_S = IntentState


class Two:
    """A first endpoint, and a second one where `other` is given. `asked` has the requests of each."""

    def __init__(self, first: dict[str, Any] | None = None, other: dict[str, Any] | None = None) -> None:
        self.first = TRUE | (first or {})
        self.other = other if other is None else TRUE | other
        self.asked: tuple[list[Sequence[Call]], list[Sequence[Call]]] = ([], [])

    async def call(self, method: str, *params: Any) -> Any:
        raise AssertionError("an account is read in one request")

    async def batch(self, calls: Sequence[Call]) -> list[Any | JsonRpcError]:
        raise AssertionError("whose answers are they?")

    async def attributed(self, calls: Sequence[Call]) -> tuple[list[Any | JsonRpcError], str]:
        self.asked[0].append(calls)
        return [self.first[method] for method, _ in calls], "first"

    async def elsewhere(self, calls: Sequence[Call], than: str) -> list[Any | JsonRpcError] | None:
        assert than == "first"
        self.asked[1].append(calls)
        return None if self.other is None else [self.other[method] for method, _ in calls]


def reader(node: Two, height: int | None = None) -> AccountReader:
    block = None if height is None else Block(height, Hash("0x1"), Hash("0x0"), 0, None)
    return AccountReader(node, ME, FeeCaps(), lambda: block)


def refusal(method: str) -> JsonRpcError:
    return JsonRpcError(method, -32601, "no such method")


async def test_an_account_is_read_in_one_request() -> None:
    node = Two()
    accounts = reader(node)
    assert await accounts.read(5) == Account(5, Suggestion(tip=2, gas_price=7))
    assert [method for method, _ in node.asked[0][0]] == [COUNT, TIP, PRICE]
    assert node.asked[0][0][0] == (COUNT, (ME, "latest"))
    assert len(node.asked[1]) == 1, "the first price is held against another"
    await accounts.read(5)
    assert (len(node.asked[0]), len(node.asked[1])) == (2, 1), "and what does not differ is not"


async def test_without_a_tip_method_the_price_is_the_tip() -> None:
    found = await reader(Two({TIP: refusal(TIP)})).read(5)
    assert found.suggestion == Suggestion(tip=7, gas_price=7)


@pytest.mark.parametrize("method", [COUNT, PRICE])
@pytest.mark.parametrize("answer", [refusal("x"), None, "many", {}])
async def test_without_nonce_or_price_the_node_cannot_be_used(method: str, answer: Any) -> None:
    with pytest.raises(RpcUnavailable):
        await reader(Two({method: answer}, {})).read(5)


async def test_a_nonce_beyond_ours_counts_where_another_endpoint_has_it() -> None:
    assert await reader(Two({COUNT: "0x9"}, {COUNT: "0x9"})).read(5) == Account(9, Suggestion(2, 7))
    assert await reader(Two({COUNT: "0x9"}, {})).read(5) == Account(5, Suggestion(2, 7), contested=True)
    assert await reader(Two({COUNT: "0x8"}, {COUNT: "0x9"})).read(5) == Account(8, Suggestion(2, 7), contested=True)
    assert await reader(Two({COUNT: "0x9"})).read(5) == Account(9, Suggestion(2, 7)), "there is nobody else to ask"


async def test_only_a_nonce_beyond_ours_is_asked_about() -> None:
    node = Two({}, {})
    accounts = reader(node)
    for ours, times in ((5, 1), (6, 1), (4, 2), (5, 2)):
        await accounts.read(ours)
        assert len(node.asked[1]) == times


@pytest.mark.parametrize("method", [TIP, PRICE])
async def test_a_price_counts_up_to_five_times_the_last_and_beyond_where_another_endpoint_says_it(method: str) -> None:
    node = Two({}, {TIP: "0x2", PRICE: "0x7"})
    accounts = reader(node)
    last = await accounts.read(5)
    value = {TIP: last.suggestion.tip, PRICE: last.suggestion.gas_price}[method]
    node.first[method] = hex(5 * value)
    dear = await accounts.read(5)
    assert {TIP: dear.suggestion.tip, PRICE: dear.suggestion.gas_price}[method] == 5 * value
    assert len(node.asked[1]) == 1
    node.first[method] = hex(25 * value + 1)
    assert (await accounts.read(5)).suggestion == Suggestion(2, 7), "the lower of two"
    assert len(node.asked[1]) == 2
    node.other = {**TRUE, TIP: "0xffff", PRICE: "0xffff"}
    node.first[method] = hex(1000)
    found = await accounts.read(5)
    assert {TIP: found.suggestion.tip, PRICE: found.suggestion.gas_price}[method] == 1000


@pytest.mark.parametrize(("behind", "counts"), [(3, True), (4, False)])
async def test_an_endpoint_that_is_far_behind_is_no_witness(behind: int, counts: bool) -> None:
    found = await reader(Two({COUNT: "0x9"}, {}), height=100 + behind).read(5)
    assert (found.nonce, found.contested) == ((5, True) if counts else (9, False))


@pytest.mark.parametrize("answer", [refusal("x"), None, "many"])
@pytest.mark.parametrize("method", [COUNT, PRICE, "eth_blockNumber"])
async def test_a_second_endpoint_that_does_not_say_is_none(method: str, answer: Any) -> None:
    assert (await reader(Two({COUNT: "0x9"}, {method: answer}), height=1).read(5)).nonce == 9


# In the sender.


class Pair(FakeMempool):
    """Two endpoints of one chain. `lie` gives what the first says of the account, by its true answer."""

    def __init__(self, *, alone: bool = False) -> None:
        super().__init__()
        self.lie: Callable[[str, int], int] = lambda method, true: true
        self.alone = alone

    async def attributed(self, calls: Sequence[Call]) -> tuple[list[Any | JsonRpcError], str]:
        true = await self.batch(calls)
        return [hex(self.lie(method, int(str(one), 16))) for (method, _), one in zip(calls, true, strict=True)], "liar"

    async def elsewhere(self, calls: Sequence[Call], than: str) -> list[Any | JsonRpcError] | None:
        if self.alone:
            return None
        answers = await self.batch([call for call in calls if call[0] != "eth_blockNumber"])
        return [*answers, hex(self.head.number)]


async def through(world: World, *numbers: int) -> None:
    for n in numbers:
        await world.plan(intent(n))
    for _ in range(12):
        await world.mine()
        await world.clock.advance(31)


async def test_a_nonce_that_one_endpoint_made_up_is_neither_used_nor_a_second_host() -> None:
    node = Pair()
    world = World(node=node)
    async with world.running():
        await through(world, 1)
        node.lie = lambda method, true: true + 7 if method == COUNT else true
        await world.clock.advance(1000)
        await through(world, 2)
        node.lie = lambda method, true: 0 if method == COUNT else true
        await world.clock.advance(1000)
        await through(world, 3)
        assert [await world.state(intent(n)) for n in (1, 2, 3)] == [_S.CONFIRMED] * 3
    assert [tx.nonce for txs in node.mined for tx in txs] == [0, 1, 2], "and no gap was filled"


async def test_at_the_start_a_contested_nonce_is_waited_for() -> None:
    node = Pair()
    node.lie = lambda method, true: true + 7 if method == COUNT else true
    world = World(node=node)
    async with world.running():
        await world.plan(intent(1))
        await world.clock.advance(100)
        assert await world.state(intent(1)) is _S.PLANNED
        node.lie = lambda method, true: true
        await through(world)
        assert await world.state(intent(1)) is _S.CONFIRMED
    assert [tx.nonce for txs in node.mined for tx in txs] == [0]


async def test_a_price_that_one_endpoint_made_up_is_not_paid() -> None:
    node = Pair()
    world = World(node=node)
    async with world.running():
        await through(world, 1)
        node.lie = lambda method, true: true if method == COUNT else 10**6 * true
        await world.clock.advance(1000)
        await through(world, 2)
    paid = [tx.max_fee for txs in node.mined for tx in txs]
    assert len(set(paid)) == 1
    assert paid[0] <= 3 * GWEI


figures = st.one_of(st.integers(0, 10**6), st.integers(0, 2**200), st.just(-1))


@settings(deadline=None)
@given(tip=figures, price=figures, base=st.one_of(st.none(), figures), count=st.integers(0, 2**64), alone=st.booleans())
def test_whatever_a_node_says_nothing_is_signed_above_the_cap_and_all_is_well_when_it_is_over(
    tip: int, price: int, base: int | None, count: int, alone: bool
) -> None:
    asyncio.run(_whatever(tip, price, base, count, alone))


async def _whatever(tip: int, price: int, base: int | None, count: int, alone: bool) -> None:
    node = Pair(alone=alone)
    world = World(node=node)
    told = {TIP: tip, PRICE: price, COUNT: 0 if alone else count}
    node.lie = lambda method, true: told[method]
    world.head.block = node.head
    async with world.running():
        node.base_fee = base
        await world.hear(*node.mine())
        await world.plan(intent(1))
        for _ in range(4):
            await world.hear(*node.mine(limit=0))
            await world.clock.advance(15)
        node.base_fee, node.lie = GWEI, lambda method, true: true
        await world.hear(*node.mine(limit=0))
        await world.clock.advance(61)
        await through(world, 2)
        await settle()
        for key in (intent(1).key, intent(2).key):
            assert all(tx.max_fee <= 100 * GWEI for tx in await world.store.signed(key))
        states = [await world.state(intent(n)) for n in (1, 2)]
    assert states == [_S.CONFIRMED, _S.CONFIRMED]
