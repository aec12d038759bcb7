"""Several endpoints as one, each failing in its own way."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogpu_provider.chain import decode
from ogpu_provider.chain.bucket import Bucket
from ogpu_provider.chain.chorus import Chorus
from ogpu_provider.chain.endpoint import Endpoint
from ogpu_provider.chain.networks import devnet, several
from ogpu_provider.chain.news import LogId, log_id
from ogpu_provider.chain.pool import RpcPool
from ogpu_provider.chain.rpc import Rpc
from ogpu_provider.chain.wire import JsonRpcError, retry_after
from ogpu_provider.chain.witness import CrossCheck
from ogpu_provider.domain.clock import SystemClock
from ogpu_provider.domain.errors import ConfigError, RpcUnavailable, WrongNetwork
from ogpu_provider.domain.facts import Block, Fact
from tests.fakes.clock import FakeClock, settle
from tests.fakes.ledger import NETWORK, Ledger
from tests.fakes.node import FakeNode, Fault, Refusal


def saying(word: Any) -> Any:
    return lambda method, params: "0x1" if method == "eth_blockNumber" else word


def raising(error: Exception) -> Any:
    def reply(method: str, params: list[Any]) -> Any:
        raise error

    return reply


@asynccontextmanager
async def pooled(
    count: int = 2, *, ws: bool = False, rest: float = 0.0, timeout: float = 0.5, **options: Any
) -> AsyncIterator[tuple[RpcPool, list[FakeNode]]]:
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(FakeNode()) for _ in range(count)]
        for number, node in enumerate(nodes):
            node.reply = saying(f"{number}")
        ends = [Rpc(node.network(http=not ws, ws=ws), timeout=timeout, random=lambda: 0.0) for node in nodes]
        pool = await stack.enter_async_context(RpcPool(ends, random=lambda: rest, hedge=0.1, **options))
        await asyncio.sleep(0.05)  # the first look at the heads
        yield pool, nodes


async def test_a_single_endpoint_costs_no_call_more() -> None:
    async with pooled(1) as (pool, (node,)):
        assert node.asked == {}
        assert await pool.call("eth_test") == "0"
        assert node.asked == {"eth_chainId": 1, "eth_getCode": 3, "eth_test": 1}
        assert pool.counts == node.asked
        assert not pool.several
        assert await pool.elsewhere([("eth_test", ())], pool.health()[0].name) is None


@pytest.mark.parametrize("fault", [Fault(status=500), Fault(drop=True), Fault(text="{"), Refusal(429, "slow down")])
async def test_a_read_goes_on_elsewhere_when_the_first_fails(fault: Exception) -> None:
    async with pooled(rest=60.0) as (pool, (first, _)):
        first.reply = raising(fault)
        assert await pool.call("eth_test") == "1"
        before = first.asked["eth_test"]
        assert await pool.call("eth_test") == "1"
        assert first.asked["eth_test"] == before  # at rest


async def test_an_endpoint_that_hangs_is_overtaken() -> None:
    async with pooled(timeout=600.0) as (pool, (first, _)):
        first.reply = raising(Fault(silent=True))
        async with asyncio.timeout(60):
            assert await pool.call("eth_test") == "1"


async def test_reads_come_from_the_highest() -> None:
    async with pooled() as (pool, (first, second)):
        first.reply, second.reply = lambda method, params: "0x10", lambda method, params: "0x11"
        for endpoint in pool._endpoints:
            await endpoint.ask([("eth_blockNumber", ())])
        assert await pool.call("eth_test") == "0x11"
        assert [one.head for one in pool.health()] == [16, 17]


async def test_a_send_goes_to_all_and_one_success_is_enough() -> None:
    async with pooled(3) as (pool, (first, second, third)):
        first.reply, second.reply, third.reply = raising(Refusal(-32000, "no")), raising(Fault(drop=True)), saying("0x")
        assert await pool.call("eth_sendRawTransaction", "0x02") == "0x"
        await asyncio.sleep(0.05)
        assert [node.asked["eth_sendRawTransaction"] for node in (first, third)] == [1, 1]


async def test_a_send_that_all_refuse_is_refused_and_one_without_an_answer_is_unknown() -> None:
    async with pooled() as (pool, (first, second)):
        first.reply, second.reply = raising(Fault(drop=True)), raising(Refusal(-32000, "nonce too low"))
        with pytest.raises(JsonRpcError, match="nonce too low"):
            await pool.call("eth_sendRawTransaction", "0x02")
        second.reply = raising(Fault(status=502))
        with pytest.raises(RpcUnavailable):
            await pool.call("eth_sendRawTransaction", "0x02")


async def test_one_on_another_network_is_left_out_and_taken_back() -> None:
    async with pooled() as (pool, (first, _)):
        first.chain_id = 1
        first.reply = raising(Fault(status=500))
        assert await pool.call("eth_test") == "1"  # and with the failure its network is in question
        [await endpoint.quietly([("eth_test", ())]) for endpoint in pool._endpoints]
        assert not pool.health()[0].healthy
        assert "chain 1" in pool.health()[0].reason
        first.chain_id, first.reply = devnet("x").chain_id, saying("0")
        await pool._endpoints[0].quietly([("eth_test", ())])
        assert pool.health()[0].healthy


async def test_all_on_another_network_is_a_wrong_network() -> None:
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(FakeNode()) for _ in range(2)]
        for node in nodes:
            node.chain_id = 1
        pool = await stack.enter_async_context(RpcPool([Rpc(node.network(ws=False)) for node in nodes]))
        with pytest.raises(WrongNetwork):
            await pool.call("eth_test")
        await asyncio.sleep(0.05)


async def test_when_nobody_answers_it_says_so_and_recovers_at_once() -> None:
    async with pooled() as (pool, nodes):
        for node in nodes:
            node.reply = raising(Fault(status=503))
        for _ in range(3):
            with pytest.raises(RpcUnavailable):
                await pool.call("eth_test")
        assert not any(one.healthy for one in pool.health())
        nodes[1].reply = saying("back")
        assert await pool.call("eth_test") == "back"


async def test_heads_of_all_websockets_come_once_each() -> None:
    async with pooled(ws=True) as (pool, (first, second)):
        heads = await pool.subscribe()
        for number, nodes in ((1, (first, second)), (2, (second, first)), (3, (second,))):
            header = {"number": hex(number), "hash": f"0x{number:064x}"}
            for node in nodes:
                await node.announce(header)
            assert (await asyncio.wait_for(anext(heads), 60)).heads[-1]["number"] == hex(number)
        await first.close_socket()
        await second.announce({"number": "0x4", "hash": "0x04"})
        assert (await asyncio.wait_for(anext(heads), 60)).heads[-1]["number"] == "0x4"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(heads), 0.05)
        await second.close_socket()
        with pytest.raises(RpcUnavailable):
            await asyncio.wait_for(anext(heads), 60)


async def test_an_endpoint_that_fails_at_once_does_not_hide_one_that_is_still_connecting() -> None:
    async with AsyncExitStack() as stack:
        node = await stack.enter_async_context(FakeNode())
        dead = devnet("", "ws://127.0.0.1:1")
        ends = [Rpc(end, random=lambda: 0.0) for end in (dead, node.network(http=False))]
        pool = await stack.enter_async_context(RpcPool(ends, random=lambda: 0.0))
        heads = await pool.subscribe()
        await node.announce({"number": "0x1", "hash": "0x01"})
        assert (await asyncio.wait_for(anext(heads), 60)).heads


async def test_a_log_comes_once_and_is_seconded_by_the_other_endpoint() -> None:
    clock, random = FakeClock(), lambda: 0.0
    ends = [Endpoint(name, Ledger(), Bucket(), clock, random) for name in ("a", "b")]
    chorus = Chorus(ends, clock, random)
    services = [asyncio.ensure_future(service) for _, service in chorus.services()]
    stream = await chorus.subscribe({})
    await settle()
    log = {"blockHash": "0x01", "transactionHash": "0x02", "logIndex": "0x0"}
    for end in ends:
        ledger = end.rpc
        assert isinstance(ledger, Ledger)
        assert not chorus.seconded(log_id(log))
        ledger.streams[0].put_log(log, end.name)
        await settle()
    assert [told.by for told in (await anext(stream)).logs] == ["a"]
    assert chorus.seconded(log_id(log))
    for service in services:
        service.cancel()
    await asyncio.gather(*services, return_exceptions=True)


async def test_leaving_does_not_wait_for_a_send_that_hangs() -> None:
    async with asyncio.timeout(60):
        async with pooled(timeout=600.0) as (pool, (first, _)):
            first.reply = raising(Fault(silent=True))
            assert await pool.call("eth_sendRawTransaction", "0x") == "1"


def test_a_pool_of_none_is_a_wrong_setting() -> None:
    with pytest.raises(ConfigError):
        RpcPool([])


def test_urls_of_one_host_and_port_are_one_endpoint() -> None:
    network = devnet("https://a.example/key", "wss://b.example/ws")
    ends = several(network, ["wss://c.example/x", "https://c.example/y", "http://d.example:8545"])
    assert [(end.http_url, end.ws_url) for end in ends] == [
        ("https://a.example/key", "wss://b.example/ws"),
        ("https://c.example/y", "wss://c.example/x"),
        ("http://d.example:8545", ""),
    ]
    assert Rpc(ends[0]).name == "a.example"  # and not the key in its path


# the bucket


@given(st.floats(1, 1000), st.lists(st.floats(0, 0.1), min_size=1, max_size=300))
def test_no_more_calls_than_the_rate_allows(rate: float, gaps: list[float]) -> None:
    bucket, at, made = Bucket(rate, burst=1.0), 0.0, 0
    for gap in gaps:
        at += gap
        if bucket.wait(at) == 0:
            bucket.take(1, at)
            made += 1
    assert made <= rate * (1 + at) + 1


def test_a_complaint_halves_the_rate_and_is_honoured() -> None:
    bucket = Bucket()
    assert bucket.wait(0.0) == 0.0
    bucket.take(100, 0.0)
    bucket.refused(7.0, 0.0)
    bucket.refused(7.0, 0.1)  # another call of the same moment
    assert bucket.rate == pytest.approx(50, rel=0.1)
    assert bucket.wait(1.0) == pytest.approx(6.1)
    assert bucket.wait(7.2) == 0.0
    assert bucket.wait(1000.0) == 0.0
    assert bucket.rate > 1e9  # forgotten by then


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("3", 3.0), ("0", 0.0), ("-1", 0.0), ("1e9", 3600.0), (None, None), ("Wed, 21 Oct 2026", None), ("nan", None)],
)
def test_retry_after_is_seconds_or_nothing(text: str | None, seconds: float | None) -> None:
    assert retry_after(text) == seconds


async def test_a_rest_that_the_node_asks_for_is_kept() -> None:
    async with pooled(1) as (pool, (node,)):
        node.reply = raising(Fault(status=429))
        with pytest.raises(RpcUnavailable):
            await pool.call("eth_test")
        pool._endpoints[0].bucket.refused(60.0, SystemClock().monotonic())
        before = node.http_requests
        with pytest.raises(RpcUnavailable, match="rest"):
            await pool.call("eth_test")
        assert node.http_requests == before


@pytest.mark.parametrize("status", [429, 503])
async def test_the_nodes_own_retry_after_is_honoured_and_another_endpoint_asked_meanwhile(status: int) -> None:
    clock = FakeClock()
    async with AsyncExitStack() as stack:
        first, second = [await stack.enter_async_context(FakeNode()) for _ in range(2)]
        ends = [Rpc(node.network(ws=False), clock=clock) for node in (first, second)]
        pool = await stack.enter_async_context(RpcPool(ends, clock=clock, random=lambda: 0.0))
        await asyncio.sleep(0.05)
        first.reply = raising(Fault(status=status, retry_after="42"))
        second.reply = saying("here")
        assert await pool.call("eth_test") == "here"
        [busy, other] = pool.health()
        assert (busy.healthy, busy.limited_s, busy.rests_s, other.healthy) == (False, 42.0, 42.0, True)
        first.reply, asked = saying("back"), first.http_requests
        await clock.advance(41)
        assert await pool.call("eth_test") == "here"
        assert first.http_requests == asked
        await clock.advance(2)
        assert await pool.call("eth_sendRawTransaction", "0x") in ("here", "back")
        await until_asked(first, asked)


async def until_asked(node: FakeNode, before: int) -> None:
    async with asyncio.timeout(60):
        while node.http_requests == before:
            await asyncio.sleep(0.01)


# health


async def test_health_tells_how_far_an_endpoint_is_behind() -> None:
    async with pooled(3) as (pool, nodes):
        for node, head in zip(nodes, ("0x10", "0x1a", "0x13"), strict=True):
            node.reply = lambda method, params, head=head: head
        await asyncio.gather(*(one.ask([("eth_blockNumber", ())]) for one in pool._endpoints))
        assert [(one.head, one.lag, one.healthy) for one in pool.health()] == [
            (16, 10, True),
            (26, 0, True),
            (19, 7, True),
        ]
        assert [one.socket_open for one in pool.health()] == [None] * 3


async def test_health_tells_of_a_websocket_that_is_lost_and_why() -> None:
    async with pooled(ws=True) as (pool, (first, _)):
        await pool.call("eth_test")
        assert [(one.socket_open, one.healthy, one.reason) for one in pool.health()] == [(True, True, "")] * 2
        await first.close_socket()
        async with asyncio.timeout(60):
            while "refused" not in pool.health()[0].reason:
                await asyncio.sleep(0.01)
        lost, well = pool.health()
        assert (lost.socket_open, lost.healthy, well.socket_open, well.healthy) == (False, False, True, True)
        await first.open_socket()
        async with asyncio.timeout(60):
            while not pool.health()[0].socket_open:
                await asyncio.sleep(0.01)


# the second opinion


class Pair(Ledger):
    """A feed whose second opinion comes from another ledger. `announced` twice: logs that need no opinion."""

    def __init__(self, other: Ledger | None, announced: Collection[str] = ()) -> None:
        super().__init__()
        self.other = other
        self.announced = announced
        self.asked = 0

    def seconded(self, log: LogId) -> bool:
        return log[0] in self.announced

    async def elsewhere(self, calls: Sequence[Any], than: str) -> list[Any] | None:
        self.asked += 1
        if self.other is None:
            return None
        known = {header["hash"]: header for header in self.other.blocks[: len(self.other.blocks) - self.other.hidden]}
        return [
            known.get(params[0]) if method == "eth_getBlockByHash" else self.other._answer(method, params)
            for method, params in calls
        ]


async def judged(
    other: Ledger | None, facts: list[Fact], block: Block, wait: float = 30.0
) -> tuple[CrossCheck, list[Fact]]:
    clock, denied = FakeClock(), list[Fact]()

    async def disprove(_: Block, found: Sequence[Fact]) -> None:
        denied.extend(found)

    async with CrossCheck(Pair(other), NETWORK, clock, disprove) as witness:
        witness.doubt(block, facts, "first")
        await settle()
        await clock.advance(wait)
    return witness, denied


def told(ledger: Ledger, tasks: int) -> tuple[list[Fact], Block]:
    header = ledger.mine(tasks)
    block = decode.block(header)
    return decode.Decoder(NETWORK.nexus, NETWORK.terminal).facts(ledger.logs[header["hash"]]), block


async def test_a_log_that_the_other_has_too_stands() -> None:
    ledger = Ledger()
    facts, block = told(ledger, 2)
    witness, denied = await judged(ledger, facts, block)
    assert (denied, witness.disproved, witness.unheard) == ([], 0, 0)


async def test_a_forged_log_is_disproved() -> None:
    ledger = Ledger()
    facts, block = told(ledger, 2)
    ledger.logs[block.hash] = ledger.logs[block.hash][:1]
    witness, denied = await judged(ledger, facts, block)
    assert denied == facts[1:]
    assert witness.disproved == 1


async def test_a_log_in_a_block_whose_bloom_promises_none_is_disproved() -> None:
    ledger = Ledger(bloom=False)
    facts, block = told(ledger, 1)
    ledger.logs[block.hash] = []
    assert (await judged(ledger, facts, block))[1] == facts


async def test_an_empty_answer_against_its_own_bloom_disproves_nothing() -> None:
    ledger = Ledger()
    facts, block = told(ledger, 1)
    ledger.logs[block.hash] = []
    witness, denied = await judged(ledger, facts, block)
    assert (denied, witness.unheard) == ([], 1)


async def test_one_that_is_behind_or_silent_disproves_nothing() -> None:
    ledger = Ledger()
    facts, block = told(ledger, 1)
    ledger.hidden = 1
    assert (await judged(ledger, facts, block))[1] == []
    assert (await judged(None, facts, block))[1] == []


async def test_what_two_endpoints_announced_is_not_asked_about() -> None:
    ledger, clock, denied = Ledger(), FakeClock(), list[Fact]()
    facts, block = told(ledger, 2)
    ledger.logs[block.hash] = []

    async def disprove(_: Block, found: Sequence[Fact]) -> None:
        denied.extend(found)

    for announced in ([block.hash], []):
        pair = Pair(ledger, announced)
        async with CrossCheck(pair, NETWORK, clock, disprove) as witness:
            witness.doubt(block, facts, "first")
            await settle()
            await clock.advance(1)
        assert bool(pair.asked) is not bool(announced)


async def test_what_costs_nothing_is_not_asked_about() -> None:
    ledger = Ledger()
    facts, block = told(ledger, 1)
    pair = Pair(ledger)
    async with CrossCheck(pair, NETWORK, FakeClock(), lambda *_: asyncio.sleep(0), costs=lambda _: False) as witness:
        witness.doubt(block, facts, "")
        assert not witness._open
