"""What nodes announce by themselves: new headers, and logs that were asked to be told of."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from ogpu_provider.domain.errors import RpcUnavailable

Json = Mapping[str, Any]
LogId = tuple[str, str, str]

_HEADS = 64  # that wait for the reader; of more, the oldest are forgotten
_LOGS = 50_000  # the same


@dataclass(frozen=True, slots=True)
class Told:
    """A log, and the endpoint that announced it."""

    log: Json
    by: str


@dataclass(frozen=True, slots=True)
class News:
    """What came since the last look, each kind in its order; one of the two may be empty."""

    heads: tuple[Json, ...]
    logs: tuple[Told, ...]


class NewsStream(AsyncIterator[News]):
    """Waits for news, and gives all that there is at once.

    `tells_logs`: whether logs are announced too. Raises RpcUnavailable when the connection is lost; subscribe again
    after that.
    """

    def __init__(self, *, tells_logs: bool = False) -> None:
        self.tells_logs = tells_logs
        self._heads: deque[Json] = deque(maxlen=_HEADS)
        self._logs: deque[Told] = deque(maxlen=_LOGS)
        self._lost: RpcUnavailable | None = None
        self._event = asyncio.Event()

    def put_head(self, header: object) -> None:
        if isinstance(header, Mapping):
            self._heads.append(header)
            self._event.set()

    def put_log(self, log: object, by: str) -> None:
        if isinstance(log, Mapping):
            self._logs.append(Told(log, by))
            self._event.set()

    def lose(self, error: RpcUnavailable) -> None:
        self._lost = error
        self._event.set()

    async def __anext__(self) -> News:
        await self._event.wait()
        if self._heads or self._logs:
            news = News(tuple(self._heads), tuple(self._logs))
            self._heads.clear()
            self._logs.clear()
            if self._lost is None:
                self._event.clear()
            return news
        raise self._lost or RpcUnavailable("the subscription ended")


def log_id(log: Json) -> LogId:
    """What makes a log this one: block, transaction, place."""
    return str(log.get("blockHash")).lower(), str(log.get("transactionHash")).lower(), str(log.get("logIndex"))
