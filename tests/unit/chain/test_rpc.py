"""The RPC against a node that misbehaves in every way that nodes do."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ogpu_provider.chain.networks import devnet
from ogpu_provider.chain.rpc import Rpc
from ogpu_provider.chain.wire import JsonRpcError
from ogpu_provider.domain.errors import ConfigError, RpcRejected, RpcUnavailable, WrongNetwork
from tests.fakes.node import FakeNode, Fault, Refusal

HTTP, WS = {"http": True, "ws": False}, {"http": False, "ws": True}
CHECK = {"eth_chainId": 1, "eth_getCode": 3}


@pytest.fixture
async def node() -> AsyncIterator[FakeNode]:
    async with FakeNode() as made:
        yield made


def raising(error: Exception) -> Any:
    def reply(method: str, params: list[Any]) -> Any:
        raise error

    return reply


def without_check(rpc: Rpc) -> dict[str, int]:
    return {method: n for method, n in rpc.counts.items() if method not in CHECK}


@pytest.mark.parametrize("by", [HTTP, WS])
async def test_a_call_is_one_request(node: FakeNode, by: dict[str, bool]) -> None:
    async with Rpc(node.network(**by)) as rpc:
        assert await rpc.call("eth_test", 1, {"a": 2}) == ["eth_test", 1, {"a": 2}]
        assert await rpc.call("eth_test") == ["eth_test"]
        assert without_check(rpc) == {"eth_test": 2}
    assert node.asked == {**CHECK, "eth_test": 2}
    assert node.asked == rpc.counts


@pytest.mark.parametrize("by", [HTTP, WS])
async def test_a_batch_answers_in_order_with_refusals_as_values(node: FakeNode, by: dict[str, bool]) -> None:
    def reply(method: str, params: list[Any]) -> Any:
        if params == [1]:
            raise Refusal(3, "execution reverted", "0x08c379a0")
        return params[0]

    node.reply = reply
    async with Rpc(node.network(**by)) as rpc:
        first, refused, third = await rpc.batch([("a", (0,)), ("b", (1,)), ("c", (2,))])
        assert (first, third) == (0, 2)
        assert isinstance(refused, JsonRpcError)
        assert (refused.rpc_code, refused.data, str(refused.retry)) == (3, "0x08c379a0", "never")
        assert await rpc.batch([]) == []


async def test_a_batch_over_http_is_one_request_of_bounded_size(node: FakeNode) -> None:
    async with Rpc(node.network(**HTTP)) as rpc:
        await rpc.call("warm")
        before = node.http_requests
        assert len(await rpc.batch([("x", (n,)) for n in range(250)])) == 250
        assert node.http_requests - before == 3
        assert node.http_connections == 1  # pooled


@pytest.mark.parametrize("by", [HTTP, WS])
async def test_a_refusal_keeps_code_and_data(node: FakeNode, by: dict[str, bool]) -> None:
    node.reply = raising(Refusal(-32000, "nonce too low"))
    async with Rpc(node.network(**by)) as rpc:
        with pytest.raises(RpcRejected) as caught:
            await rpc.call("eth_sendRawTransaction", "0x")
        assert isinstance(caught.value, JsonRpcError)
        assert (caught.value.rpc_code, str(caught.value.retry)) == (-32000, "later")


@pytest.mark.parametrize("by", [HTTP, WS])
@pytest.mark.parametrize(
    "error",
    [
        Fault(status=500, text="oops"),
        Fault(status=503, text="<html>"),
        Fault(status=429, text='{"jsonrpc":"2.0","id":1,"result":1}'),
        Fault(text='{"jsonrpc":"2.0","id":1,"resu'),
        Fault(text=""),
        Fault(drop=True),
        Refusal(429, "slow down"),
    ],
)
async def test_a_broken_answer_is_no_answer(node: FakeNode, by: dict[str, bool], error: Exception) -> None:
    node.reply = raising(error)
    async with Rpc(node.network(**by), timeout=0.3, random=lambda: 0.0) as rpc:
        with pytest.raises(RpcUnavailable) as caught:
            await rpc.call("eth_test")
        assert (caught.value.code, str(caught.value.retry)) == ("chain.unavailable", "later")


@pytest.mark.parametrize("text", ["[]", "7", '{"jsonrpc":"2.0","id":1}', "null"])
async def test_json_that_is_no_answer_is_no_answer(node: FakeNode, text: str) -> None:
    node.reply = raising(Fault(text=text))
    async with Rpc(node.network(**HTTP)) as rpc:
        with pytest.raises(RpcUnavailable):
            await rpc.call("eth_test")
        with pytest.raises(RpcUnavailable):
            await rpc.batch([("a", ()), ("b", ())])


@pytest.mark.parametrize("by", [HTTP, WS])
async def test_a_node_that_accepts_and_never_answers_costs_one_timeout(node: FakeNode, by: dict[str, bool]) -> None:
    async with Rpc(node.network(**by), timeout=0.2, random=lambda: 0.0) as rpc:
        await rpc.call("eth_test")
        node.reply = raising(Fault(silent=True))
        async with asyncio.timeout(60):
            with pytest.raises(RpcUnavailable, match="no answer in"):
                await rpc.call("eth_test")
            node.reply = lambda method, params: "back"
            answer = None
            while answer is None:
                try:
                    answer = await rpc.call("eth_test")
                except RpcUnavailable:
                    await asyncio.sleep(0.01)
        assert answer == "back"


async def test_silence_ends_a_socket_and_a_new_one_is_checked(node: FakeNode) -> None:
    async with Rpc(node.network(**WS), timeout=0.2, random=lambda: 0.0) as rpc:
        await rpc.call("eth_test")
        node.reply = raising(Fault(silent=True))
        with pytest.raises(RpcUnavailable):
            await rpc.call("eth_test")
        node.reply = lambda method, params: 1
        await until(lambda: node.ws_connections == 2 and rpc.counts["eth_chainId"] == 2)


async def test_pending_calls_fail_when_the_connection_is_lost(node: FakeNode) -> None:
    node.reply = raising(Fault(silent=True))
    async with Rpc(node.network(**WS), random=lambda: 0.0) as rpc:
        calls = [asyncio.ensure_future(rpc.call("eth_test", n)) for n in range(5)]
        await until(lambda: node.asked["eth_test"] == 5)
        await node.close_socket()
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(one) for one in answers] == [RpcUnavailable] * 5


async def test_without_its_socket_the_same_node_is_asked_over_http(node: FakeNode) -> None:
    async with Rpc(node.network(), random=lambda: 0.0) as rpc:
        await rpc.call("eth_test")
        assert node.http_requests == 0
        await node.close_socket()
        await until(lambda: not_connected(rpc))
        assert await rpc.call("eth_test") == ["eth_test"]
        assert node.http_requests == 2  # the check of the network, and the call
        await node.open_socket()
        await until(lambda: node.ws_connections == 2 and rpc.counts["eth_chainId"] == 3)
        await asyncio.sleep(0.01)
        await rpc.call("eth_test")
        assert node.http_requests == 2


async def test_many_calls_share_the_socket_and_get_their_own_answers(node: FakeNode) -> None:
    async with Rpc(node.network(**WS)) as rpc:
        answers = await asyncio.gather(*(rpc.call("eth_test", n) for n in range(200)))
        assert answers == [["eth_test", n] for n in range(200)]
    assert node.ws_connections == 1


async def test_heads_are_pushed_and_those_not_waited_for_come_together(node: FakeNode) -> None:
    async with Rpc(node.network(**WS)) as rpc:
        stream = await rpc.subscribe()
        await node.announce({"number": "0x1"})
        assert (await anext(stream)).heads == ({"number": "0x1"},)
        for number in ("0x2", "0x3", "0x4"):
            await node.announce({"number": number})
        await rpc.call("eth_test")  # everything before its answer has been read
        assert [head["number"] for head in (await anext(stream)).heads] == ["0x2", "0x3", "0x4"]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await anext(stream)
        await node.announce({"number": "0x5"})  # a wait that was given up has not hurt the stream
        assert (await anext(stream)).heads == ({"number": "0x5"},)


async def test_a_head_stream_ends_with_its_connection(node: FakeNode) -> None:
    async with Rpc(node.network(**WS), random=lambda: 0.0) as rpc:
        stream = await rpc.subscribe()
        await node.announce({"number": "0x1"})
        await rpc.call("eth_test")
        await node.close_socket()
        assert (await anext(stream)).heads == ({"number": "0x1"},)
        for _ in range(2):
            with pytest.raises(RpcUnavailable):
                await anext(stream)


async def test_there_are_no_heads_without_a_socket(node: FakeNode) -> None:
    async with Rpc(node.network(**HTTP)) as rpc:
        assert not rpc.pushes
        with pytest.raises(RpcUnavailable):
            await rpc.subscribe()


@pytest.mark.parametrize("by", [HTTP, WS])
async def test_another_chain_is_refused(node: FakeNode, by: dict[str, bool]) -> None:
    node.chain_id = 1
    async with Rpc(node.network(**by)) as rpc:
        with pytest.raises(WrongNetwork, match="on chain 1, not on devnet"):
            await rpc.call("eth_test")
        assert node.asked["eth_test"] == 0


@pytest.mark.parametrize("by", [HTTP, WS])
async def test_a_chain_without_the_contracts_is_refused(node: FakeNode, by: dict[str, bool]) -> None:
    node.code = "0x"
    async with Rpc(node.network(**by)) as rpc:
        with pytest.raises(WrongNetwork, match="no contract at 0x"):
            await rpc.call("eth_test")
        with pytest.raises(WrongNetwork):
            await rpc.check_network()


async def test_a_node_that_turned_into_another_is_refused_after_the_reconnect(node: FakeNode) -> None:
    async with Rpc(node.network(**WS), random=lambda: 0.0) as rpc:
        await rpc.call("eth_test")
        node.chain_id = 1
        await node.close_socket()
        await node.open_socket()
        await until(lambda: rpc.counts["eth_chainId"] == 2)
        await asyncio.sleep(0.02)
        with pytest.raises(WrongNetwork):
            await rpc.call("eth_test")


async def test_over_http_the_network_is_checked_again_after_a_failure(node: FakeNode) -> None:
    async with Rpc(node.network(**HTTP)) as rpc:
        await rpc.call("eth_test")
        node.reply = raising(Fault(status=502))
        with pytest.raises(RpcUnavailable):
            await rpc.call("eth_test")
        node.chain_id = 1
        with pytest.raises(WrongNetwork):
            await rpc.call("eth_test")


async def test_nobody_there_is_unavailable() -> None:
    for there in (devnet("http://127.0.0.1:9"), devnet("", "ws://127.0.0.1:9")):
        async with Rpc(there, timeout=1, random=lambda: 0.0) as rpc:
            with pytest.raises(RpcUnavailable):
                await rpc.call("eth_test")


async def test_what_goes_wrong_inside_leaves_as_itself(node: FakeNode) -> None:
    with pytest.raises(RpcRejected):
        async with Rpc(node.network(**WS)):
            raise RpcRejected("no")


def test_a_network_without_endpoints_is_a_wrong_setting() -> None:
    with pytest.raises(ConfigError):
        Rpc(devnet(""))


def not_connected(rpc: Rpc) -> bool:
    assert rpc._socket is not None
    return not rpc._socket.ready


async def until(true: Any) -> None:
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0.005)


async def test_calls_that_were_given_up_do_not_stop_later_ones(node: FakeNode) -> None:
    async with Rpc(node.network(ws=False), timeout=60) as rpc:
        for _ in range(40):
            asked = [asyncio.ensure_future(rpc.call("eth_test")) for _ in range(8)]
            await asyncio.sleep(0)
            for one in asked:
                one.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
        assert await rpc.call("eth_test") == ["eth_test"]
