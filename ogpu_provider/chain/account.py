"""How many transactions our account has made and what the next one should pay, as nodes say it.

One node's word is enough for what costs nothing. What would cost is held against another endpoint, where there is
one: a nonce beyond ours, and a price many times the last one. Of two answers the lower one counts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ogpu_provider.chain.fees import FeeCaps, Suggestion
from ogpu_provider.chain.receipts import Node, number
from ogpu_provider.chain.wire import Call, JsonRpcError
from ogpu_provider.domain.errors import RpcUnavailable
from ogpu_provider.domain.facts import Block
from ogpu_provider.domain.units import Address

STALE_BLOCKS = 3
"""An endpoint that is further behind what we heard of is no witness."""


class Peers(Node, Protocol):
    """One node or a pool of them, as in `feed`."""

    async def attributed(self, calls: Sequence[Call]) -> tuple[list[Any | JsonRpcError], str]: ...

    async def elsewhere(self, calls: Sequence[Call], than: str) -> list[Any | JsonRpcError] | None: ...


@dataclass(frozen=True, slots=True)
class Account:
    """Transactions of an address in the latest block, and what the node would pay for the next.

    `contested`: another endpoint says another nonce.
    """

    nonce: int
    suggestion: Suggestion
    contested: bool = False


class AccountReader:
    """`heard` is the newest block that we heard of. Raises RpcUnavailable."""

    def __init__(self, node: Peers, address: Address, caps: FeeCaps, heard: Callable[[], Block | None]) -> None:
        self._node = node
        self._address = address
        self._multiple = caps.multiple
        self._heard = heard
        self._last: Suggestion | None = None

    async def read(self, ours: int) -> Account:
        """One round trip, two where the answer would cost. `ours`: the nonce of our next transaction."""
        answers, teller = await self._node.attributed(self._calls())
        account = _account(answers)
        if account.nonce > ours or self._is_dear(account.suggestion):
            account = _lower(account, await self._second(teller))
        self._last = account.suggestion
        return account

    def _is_dear(self, now: Suggestion) -> bool:
        last = self._last
        if last is None:
            return True
        return now.tip > self._multiple * last.tip or now.gas_price > self._multiple * last.gas_price

    async def _second(self, teller: str) -> Account | None:
        """What another endpoint says, None without one that can know."""
        answers = await self._node.elsewhere([*self._calls(), ("eth_blockNumber", ())], teller)
        if answers is None:
            return None
        *answers, height = answers
        block = self._heard()
        try:
            stale = block is not None and number(height) < block.number - STALE_BLOCKS
            return None if stale else _account(answers)
        except RpcUnavailable:
            return None

    def _calls(self) -> list[Call]:
        return [
            ("eth_getTransactionCount", (self._address, "latest")),
            ("eth_maxPriorityFeePerGas", ()),
            ("eth_gasPrice", ()),
        ]


def _account(answers: Sequence[Any | JsonRpcError]) -> Account:
    """Nodes without eth_maxPriorityFeePerGas suggest a gas price, which then counts as the tip."""
    nonce, tip, price = answers
    for answer in (nonce, price):
        if isinstance(answer, JsonRpcError):
            raise RpcUnavailable(f"the node does not say nonce or price: {answer}") from answer
    gas_price = number(price)
    return Account(number(nonce), Suggestion(gas_price if isinstance(tip, JsonRpcError) else number(tip), gas_price))


def _lower(one: Account, other: Account | None) -> Account:
    if other is None:
        return one
    tip = min(one.suggestion.tip, other.suggestion.tip)
    gas_price = min(one.suggestion.gas_price, other.suggestion.gas_price)
    return Account(min(one.nonce, other.nonce), Suggestion(tip, gas_price), contested=one.nonce != other.nonce)
