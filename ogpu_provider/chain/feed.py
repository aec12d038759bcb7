"""What a reader of the chain needs of the nodes it reads from: one of them, or a pool."""

from collections.abc import Sequence
from typing import Any, Protocol

from ogpu_provider.chain.news import Json, LogId, NewsStream
from ogpu_provider.chain.receipts import Node
from ogpu_provider.chain.wire import Call, JsonRpcError

Answers = list[Any | JsonRpcError]


class Feed(Node, Protocol):
    """Every method raises RpcUnavailable, or WrongNetwork where no node is on our network."""

    @property
    def pushes(self) -> bool:
        """Whether new heads can be subscribed to; otherwise they have to be asked for."""
        ...

    async def subscribe(self, wanted: Json | None = None) -> NewsStream:
        """New headers as they are announced, and logs that fit the filter where they are announced too."""
        ...

    def seconded(self, log: LogId) -> bool:
        """Whether two endpoints announced this log by themselves."""
        ...

    async def attributed(self, calls: Sequence[Call]) -> tuple[Answers, str]:
        """Like `batch`, and the name of the endpoint that gave all of the answers."""
        ...

    async def elsewhere(self, calls: Sequence[Call], than: str) -> Answers | None:
        """What another endpoint says to the same calls, None where no other answers."""
        ...
