"""The chain's past from a node that refuses long ranges, fails now and then, and knows some contracts no more."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from eth_abi.abi import encode

from ogpu_provider.chain.contracts import topic
from ogpu_provider.chain.history import UNSETTLED, ChainPast
from ogpu_provider.chain.networks import devnet
from ogpu_provider.chain.wire import Call, JsonRpcError
from ogpu_provider.domain.errors import RpcUnavailable
from ogpu_provider.domain.facts import Attempted, ResponseSubmitted, TaskStatus, TaskStatusChanged
from ogpu_provider.domain.history import Passage
from ogpu_provider.domain.units import Address
from tests.fakes.clock import BriskClock

NETWORK = devnet("http://unused")
SOURCE, PROVIDER = Address("0x" + "12" * 20), Address("0x" + "34" * 20)
HEAD = 400
FIRST_AT = 1_700_000_000
GONE = 7
"""The task of this block answers nothing."""


def task(block: int) -> Address:
    return Address(f"0x{block + (1 << 150):040x}")


class OldNode:
    """In every block one task is published, attempted and answered. `most`: logs in one answer. `fails`: so many times,

    then it answers. `stamped`: logs tell the time of their block.
    """

    def __init__(self, most: int = 10_000, fails: int = 0, *, stamped: bool = False) -> None:
        self.most = most
        self.fails = fails
        self.stamped = stamped
        self.asked: list[Call] = []

    async def call(self, method: str, *params: Any) -> Any:
        [answer] = await self.batch([(method, params)])
        if isinstance(answer, JsonRpcError):
            raise answer
        return answer

    async def batch(self, calls: Sequence[Call]) -> list[Any | JsonRpcError]:
        self.asked += calls
        if self.fails:
            self.fails -= 1
            raise RpcUnavailable("not now")
        return [self._answer(method, params) for method, params in calls]

    def _answer(self, method: str, params: Sequence[Any]) -> Any:
        match method:
            case "eth_blockNumber":
                return hex(HEAD)
            case "eth_getBlockByNumber":
                return header(int(params[0], 16))
            case "eth_getLogs":
                first, last = (int(params[0][end], 16) for end in ("fromBlock", "toBlock"))
                found = [log for block in range(first, last + 1) for log in self._logs(block)]
                return JsonRpcError(method, -32005, "too many") if len(found) > self.most else found
            case "eth_call":
                block = int(params[0]["to"], 16) - (1 << 150)
                if block == GONE:
                    return "0x"
                types = ["address", "string", "uint256", "uint256"]
                return "0x" + encode(types, [SOURCE, "u", 2**200 + block, 10**18 + block]).hex()
        raise AssertionError(method)

    def _logs(self, block: int) -> list[dict[str, Any]]:
        words = {
            "TaskPublished": (task(block), SOURCE),
            "Attempted": (task(block), PROVIDER, 1),
            "ResponseSubmitted": (PROVIDER, task(block)),
            "TaskStatusChanged": (task(block), 5),
        }
        stamp = {"blockTimestamp": hex(FIRST_AT + block)} if self.stamped else {}
        return [
            {
                "address": NETWORK.nexus,
                "topics": [topic(f"Nexus.{name}")],
                "data": "0x" + "".join(f"{int(str(w), 16) if isinstance(w, str) else w:064x}" for w in parts),
                "blockNumber": hex(block),
                "blockHash": f"0x{block:064x}",
                "transactionHash": f"0x{block:064x}",
                "logIndex": hex(place),
                **stamp,
            }
            for place, (name, parts) in enumerate(words.items())
        ]

    def count(self, method: str) -> int:
        return sum(asked == method for asked, _ in self.asked)


def header(block: int) -> dict[str, Any]:
    return {
        "number": hex(block),
        "hash": f"0x{block:064x}",
        "parentHash": f"0x{block - 1 if block else 0:064x}",
        "timestamp": hex(FIRST_AT + block),
    }


async def read(node: OldNode, first: int, last: int, chunk: int = 1000) -> list[Passage]:
    past = ChainPast(node, NETWORK, BriskClock(times=1000), chunk=chunk)
    return [passage async for passage in past.passages(first, last)]


@pytest.mark.parametrize("most", [10_000, 100, 4])
@pytest.mark.parametrize("stamped", [False, True])
async def test_every_block_is_read_once_however_little_the_node_gives(most: int, stamped: bool) -> None:
    node = OldNode(most, stamped=stamped)
    found = await read(node, 1, 300)
    assert found[0].first == 1
    assert all(after.first == before.last + 1 for before, after in pairwise(found))
    assert (found[-1].last, found[-1].last_hash, found[-1].last_at) == (300, f"0x{300:064x}", FIRST_AT + 300)
    published = [one for passage in found for one in passage.published]
    assert [one.block for one in published] == [block for block in range(1, 301) if block != GONE]
    assert sum(passage.unread for passage in found) == 1
    assert all((one.source, one.at, one.place) == (SOURCE, FIRST_AT + one.block, 0) for one in published)
    assert all((one.payment, one.expiry) == (10**18 + one.block, 2**200 + one.block) for one in published)
    turns = [(at, turn) for passage in found for at, turn in passage.turns]
    for kind in (Attempted, ResponseSubmitted, TaskStatusChanged):
        assert [at for at, turn in turns if isinstance(turn, kind)] == [FIRST_AT + block for block in range(1, 301)]
    assert {turn.status for _, turn in turns if isinstance(turn, TaskStatusChanged)} == {TaskStatus.FINALIZED}
    assert node.count("eth_getBlockByNumber") <= (len(found) if stamped else 300)


async def test_a_node_that_fails_is_asked_again_and_one_that_goes_on_failing_is_given_up() -> None:
    assert (await read(OldNode(fails=3), 1, 50))[-1].last == 50
    with pytest.raises(RpcUnavailable):
        await read(OldNode(fails=1000), 1, 50)


async def test_a_range_of_one_block_that_is_refused_is_an_error() -> None:
    with pytest.raises(JsonRpcError, match="too many"):
        await read(OldNode(most=3), 1, 50)


async def test_the_first_block_of_a_time_is_found_and_the_newest_ones_are_left() -> None:
    past = ChainPast(OldNode(), NETWORK, BriskClock(times=1000))
    newest = await past.newest()
    assert newest is not None
    assert newest.number == HEAD - UNSETTLED
    for at, block in ((0, 0), (FIRST_AT, 0), (FIRST_AT + 0.5, 1), (FIRST_AT + 300, 300), (FIRST_AT + 10_000, 389)):
        assert await past.first_since(at, newest.number) == block


async def test_a_task_is_looked_up_by_itself() -> None:
    past = ChainPast(OldNode(), NETWORK, BriskClock(times=1000), pauses=())
    assert await past.task(task(GONE)) is None
