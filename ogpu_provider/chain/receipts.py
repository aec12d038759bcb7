"""What the chain knows of our transactions. A call that the node refused is a call without an answer."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ogpu_provider.chain.wire import Call, JsonRpcError
from ogpu_provider.domain.errors import RpcUnavailable
from ogpu_provider.domain.units import Address, Hash, Wei


class Node(Protocol):
    """One node or a pool of them. Raises RpcUnavailable, and JsonRpcError (an RpcRejected) from `call`."""

    async def call(self, method: str, *params: Any) -> Any: ...

    async def batch(self, calls: Sequence[Call]) -> list[Any | JsonRpcError]: ...


@dataclass(frozen=True, slots=True)
class Receipt:
    """`fee_paid` in wei, None where the node does not say the price."""

    tx_hash: Hash
    succeeded: bool
    block_number: int
    block_hash: Hash
    gas_used: int
    fee_paid: Wei | None


async def read_receipts(
    node: Node, hashes: Sequence[Hash], seen_in: Mapping[Hash, int] | None = None
) -> dict[Hash, Receipt | None]:
    """Receipts by hash, None where the chain has none; no key where the node did not answer.

    `seen_in`: numbers of blocks in which transactions were seen. Several of one block are read in one call.
    """
    found = await _by_block(node, hashes, seen_in or {})
    alone = [tx_hash for tx_hash in hashes if tx_hash not in found]
    answers = await node.batch([("eth_getTransactionReceipt", (tx_hash,)) for tx_hash in alone]) if alone else []
    for tx_hash, answer in zip(alone, answers, strict=True):
        if not isinstance(answer, JsonRpcError):
            found[tx_hash] = None if answer is None else _receipt(tx_hash, answer)
    return found


async def _by_block(node: Node, hashes: Sequence[Hash], seen_in: Mapping[Hash, int]) -> dict[Hash, Receipt | None]:
    """What whole blocks say. A node that does not know the call, or another block by then, leaves keys out."""
    shared = [number for number, many in Counter(seen_in[h] for h in hashes if h in seen_in).items() if many > 1]
    if not shared:
        return {}
    answers = await node.batch([("eth_getBlockReceipts", (hex(number),)) for number in shared])
    ours = set(hashes)
    return {
        Hash(one["transactionHash"]): _receipt(Hash(one["transactionHash"]), one)
        for answer in answers
        if isinstance(answer, list)
        for one in answer
        if isinstance(one, dict) and one.get("transactionHash") in ours
    }


async def read_known(node: Node, hashes: Sequence[Hash]) -> dict[Hash, bool]:
    """Whether the node has a transaction, in its pool or in a block; no key where it did not answer."""
    answers = await node.batch([("eth_getTransactionByHash", (tx_hash,)) for tx_hash in hashes])
    return {
        tx_hash: answer is not None
        for tx_hash, answer in zip(hashes, answers, strict=True)
        if not isinstance(answer, JsonRpcError)
    }


async def read_balance(node: Node, address: Address) -> Wei:
    """What an account holds in the latest block."""
    return number(await node.call("eth_getBalance", address, "latest"))


def _receipt(tx_hash: Hash, answer: Any) -> Receipt:
    try:
        gas_used = number(answer["gasUsed"])
        price = answer.get("effectiveGasPrice")
        return Receipt(
            tx_hash=tx_hash,
            succeeded=number(answer["status"]) == 1,
            block_number=number(answer["blockNumber"]),
            block_hash=Hash(answer["blockHash"].lower()),
            gas_used=gas_used,
            fee_paid=None if price is None else gas_used * number(price),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise RpcUnavailable(f"the receipt of {tx_hash} is not one: {type(error).__name__}") from error


def number(answer: Any) -> int:
    """A number as nodes write it. Raises RpcUnavailable where it is none."""
    try:
        return int(answer, 16)
    except (TypeError, ValueError) as error:
        raise RpcUnavailable(f"the node's number is none: {str(answer)[:80]!r}") from error
