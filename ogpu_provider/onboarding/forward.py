"""Reads that never go back in time: a node that lags would show as missing what a sitting has just paid for.

Each read is asked together with the number of the newest block, in one request, so that one node answers both. An
answer from before a block that was seen already is thrown away, and the read is asked again.
"""

from collections.abc import Sequence
from typing import Any

from ogpu_provider.chain.endpoint import SEND
from ogpu_provider.chain.receipts import Node
from ogpu_provider.chain.wire import Call, JsonRpcError
from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.errors import RpcUnavailable

HEAD = "eth_blockNumber"
PATIENCE_S = 20.0
POLL_S = 0.3


class Forward:
    """A `Node` over another one. `head`: the newest block seen, below which nothing is believed.

    Raises as that one does, and RpcUnavailable where it stays behind for `PATIENCE_S` seconds.
    """

    def __init__(self, node: Node, clock: Clock, head: int = 0) -> None:
        self._node = node
        self._clock = clock
        self.head = head

    async def call(self, method: str, *params: Any) -> Any:
        [answer] = await self.batch([(method, params)])
        if isinstance(answer, JsonRpcError):
            raise answer
        return answer

    async def batch(self, calls: Sequence[Call]) -> list[Any | JsonRpcError]:
        if any(method == SEND for method, _ in calls):
            return await self._node.batch(calls)
        end = self._clock.monotonic() + PATIENCE_S
        while True:
            head, *answers = await self._node.batch([(HEAD, ()), *calls])
            number = int(head, 16) if isinstance(head, str) else self.head  # a node that will not say is believed
            if number >= self.head:
                self.head = number
                return answers
            if self._clock.monotonic() >= end:
                raise RpcUnavailable(
                    f"the node is at block {number}, and block {self.head} was seen already",
                    remedy="name an endpoint that keeps up (network.rpc_url, network.rpc_urls), then run this again; "
                    "for a local network that was started anew, use a data_dir of its own",
                )
            await self._clock.sleep(POLL_S)

    async def attributed(self, calls: Sequence[Call]) -> tuple[list[Any | JsonRpcError], str]:
        return await self.batch(calls), ""

    async def elsewhere(self, calls: Sequence[Call], than: str) -> list[Any | JsonRpcError] | None:
        """Nobody: whoever sits here is shown what a transaction may cost before it is signed."""
        return None
