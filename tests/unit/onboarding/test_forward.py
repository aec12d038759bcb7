"""A node that lags is not believed, one that is well is not asked twice."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from ogpu_provider.chain.wire import Call, JsonRpcError
from ogpu_provider.domain.errors import RpcUnavailable
from ogpu_provider.onboarding.forward import POLL_S, Forward
from tests.fakes.clock import FakeClock


class Heads:
    """A node that is at these blocks, one after the other, then stays at the last; the answer tells the block."""

    def __init__(self, *heads: int | None) -> None:
        self.heads = list(heads)
        self.asked: list[Sequence[Call]] = []

    async def call(self, method: str, *params: Any) -> Any:
        raise AssertionError("a read comes with the number of the block")

    async def batch(self, calls: Sequence[Call]) -> list[Any]:
        self.asked.append(calls)
        head = self.heads.pop(0) if len(self.heads) > 1 else self.heads[0]
        refused = JsonRpcError("eth_blockNumber", -32601, "no such method")
        return [(hex(head) if head is not None else refused) if m == "eth_blockNumber" else head for m, _ in calls]


async def test_an_answer_from_before_what_was_seen_is_thrown_away() -> None:
    node, clock = Heads(10, 9, 8, 11), FakeClock()
    forward = Forward(node, clock)
    assert await forward.call("eth_call") == 10
    asked = asyncio.create_task(forward.call("eth_call"))
    await clock.advance(2 * POLL_S)
    assert await asked == 11
    assert forward.head == 11
    assert len(node.asked) == 4


async def test_a_node_that_stays_behind_is_an_error_that_says_so() -> None:
    clock = FakeClock()
    asked = asyncio.create_task(Forward(Heads(5), clock, head=7).call("eth_call"))
    await clock.advance(30.0)
    with pytest.raises(RpcUnavailable, match="at block 5, and block 7") as caught:
        await asked
    assert "rpc_urls" in caught.value.remedy


async def test_a_send_goes_as_it_is_and_a_refusal_is_raised() -> None:
    node = Heads(1)
    forward = Forward(node, FakeClock(), head=9)
    await forward.call("eth_sendRawTransaction", "0x00")
    assert node.asked == [[("eth_sendRawTransaction", ("0x00",))]]
    with pytest.raises(JsonRpcError):
        await Forward(Heads(None), FakeClock()).call("eth_blockNumber")
    assert await Forward(Heads(None), FakeClock(), head=9).call("eth_call") is None
