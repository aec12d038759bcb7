"""What a node says of our transactions, and what it does not say."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from ogpu_provider.chain.receipts import (
    Receipt,
    read_balance,
    read_known,
    read_receipts,
)
from ogpu_provider.chain.wire import Call, JsonRpcError
from ogpu_provider.domain.errors import RpcUnavailable
from ogpu_provider.domain.units import Address, Hash

ME = Address("0x" + "a1" * 20)
BLOCK = Hash("0x" + "bb" * 32)


def hash_of(n: int) -> Hash:
    return Hash(f"0x{n:064x}")


def document(n: int = 1, **changes: Any) -> dict[str, Any]:
    receipt = {
        "transactionHash": hash_of(n),
        "status": "0x1",
        "blockNumber": hex(40 + n),
        "blockHash": BLOCK.upper().replace("0X", "0x"),
        "gasUsed": "0x64",
        "effectiveGasPrice": "0x3",
    }
    return {name: value for name, value in (receipt | changes).items() if value is not ...}


class Saying:
    """Answers each call with what `says` gives for it; `asked` has the requests."""

    def __init__(self, says: Callable[[str, Any], Any]) -> None:
        self._says = says
        self.asked: list[list[tuple[str, Any]]] = []

    async def call(self, method: str, *params: Any) -> Any:
        [answer] = await self.batch([(method, params)])
        return answer

    async def batch(self, calls: Sequence[Call]) -> list[Any]:
        self.asked.append([(method, params[0] if params else None) for method, params in calls])
        return [self._says(method, params[0] if params else None) for method, params in calls]


def refusal(method: str) -> JsonRpcError:
    return JsonRpcError(method, -32601, "no such method")


async def test_a_receipt_is_read_whole() -> None:
    node = Saying(lambda method, one: document())
    assert await read_receipts(node, [hash_of(1)]) == {
        hash_of(1): Receipt(hash_of(1), True, 41, BLOCK, gas_used=100, fee_paid=300)
    }


async def test_failed_and_without_a_price() -> None:
    node = Saying(lambda method, one: document(status="0x0", effectiveGasPrice=...))
    receipt = (await read_receipts(node, [hash_of(1)]))[hash_of(1)]
    assert receipt is not None
    assert (receipt.succeeded, receipt.fee_paid) == (False, None)


async def test_none_is_an_answer_and_a_refusal_is_not() -> None:
    answers = {hash_of(1): None, hash_of(2): refusal("x"), hash_of(3): document(3)}
    node = Saying(lambda method, one: answers[one])
    found = await read_receipts(node, list(answers))
    assert set(found) == {hash_of(1), hash_of(3)}
    assert found[hash_of(1)] is None


async def test_no_transactions_no_question() -> None:
    node = Saying(lambda method, one: None)
    assert await read_receipts(node, []) == {}
    assert node.asked == []


@pytest.mark.parametrize(
    "broken",
    [
        document(status=...),
        document(gasUsed=...),
        document(blockNumber="none"),
        document(blockNumber=None),
        document(blockHash=None),
        document(blockHash=...),
        document(effectiveGasPrice="much"),
        [],
        "0x1",
        7,
    ],
)
async def test_what_is_no_receipt_is_a_node_that_cannot_be_used(broken: Any) -> None:
    with pytest.raises(RpcUnavailable):
        await read_receipts(Saying(lambda method, one: broken), [hash_of(1)])


async def test_two_of_one_block_are_read_with_their_block_and_one_alone_by_itself() -> None:
    def says(method: str, one: Any) -> Any:
        if method == "eth_getBlockReceipts":
            return [document(1), document(2), document(9), "junk", {"no": "hash"}]
        return document(3)

    node = Saying(says)
    seen_in = {hash_of(1): 7, hash_of(2): 7, hash_of(3): 8}
    found = await read_receipts(node, [hash_of(n) for n in (1, 2, 3, 4)], seen_in)
    assert list(found) == [hash_of(n) for n in (1, 2, 3, 4)]
    assert node.asked == [
        [("eth_getBlockReceipts", "0x7")],
        [("eth_getTransactionReceipt", hash_of(3)), ("eth_getTransactionReceipt", hash_of(4))],
    ]


@pytest.mark.parametrize("answer", [refusal("eth_getBlockReceipts"), None, [], [document(9)]])
async def test_a_block_that_says_nothing_of_ours_leaves_the_single_questions(answer: Any) -> None:
    node = Saying(lambda method, one: answer if method == "eth_getBlockReceipts" else None)
    found = await read_receipts(node, [hash_of(1), hash_of(2)], {hash_of(1): 7, hash_of(2): 7})
    assert found == {hash_of(1): None, hash_of(2): None}
    assert len(node.asked) == 2


async def test_transactions_of_different_blocks_are_asked_for_in_one_request() -> None:
    node = Saying(lambda method, one: None)
    await read_receipts(node, [hash_of(1), hash_of(2)], {hash_of(1): 7, hash_of(2): 8, hash_of(9): 8})
    assert [[method for method, _ in request] for request in node.asked] == [["eth_getTransactionReceipt"] * 2]


async def test_whether_a_node_knows_a_transaction() -> None:
    answers = {hash_of(1): {"hash": hash_of(1)}, hash_of(2): None, hash_of(3): refusal("x")}
    node = Saying(lambda method, one: answers[one])
    assert await read_known(node, list(answers)) == {hash_of(1): True, hash_of(2): False}


async def test_a_balance_is_a_number_or_the_node_cannot_be_used() -> None:
    assert await read_balance(Saying(lambda method, one: "0x10"), ME) == 16
    with pytest.raises(RpcUnavailable, match="rich"):
        await read_balance(Saying(lambda method, one: "rich"), ME)
