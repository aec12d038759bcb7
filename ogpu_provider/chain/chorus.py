"""What several endpoints announce, as one stream: each block and each log once, from whoever is first."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import structlog

from ogpu_provider.chain.endpoint import REST, Endpoint
from ogpu_provider.chain.news import Json, LogId, NewsStream, Told, log_id
from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.errors import ChainError, RpcRejected, RpcUnavailable, WrongNetwork

log = structlog.get_logger(__name__)

_HEADS = 512  # announced blocks that are remembered, so that each is passed on once
_LOGS = 2048  # the same for logs; one that comes again later than that is read again, which changes nothing


class Chorus:
    """`services` run while the pool is open. Endpoints begin to be listened to with the first subscription.

    A block is announced as soon as one endpoint has it; a log that comes from a second one as well is `seconded`.
    """

    def __init__(self, endpoints: Sequence[Endpoint], clock: Clock, random: Callable[[], float]) -> None:
        self._endpoints = [one for one in endpoints if one.rpc.pushes]
        self._clock = clock
        self._random = random
        self._streams: list[NewsStream] = []
        self._heads: dict[str, None] = {}
        self._logs: dict[LogId, str] = {}
        self._seconded: dict[LogId, None] = {}
        self._wanted: Json | None = None
        self._wanting = asyncio.Event()
        self._settled = asyncio.Event()
        self._tried: set[str] = set()
        self._telling: set[str] = set()

    def services(self) -> list[tuple[str, Coroutine[Any, Any, None]]]:
        return [(f"news of {one.name}", self._listen(one)) for one in self._endpoints]

    def seconded(self, log: LogId) -> bool:
        return log in self._seconded

    async def subscribe(self, wanted: Json | None) -> NewsStream:
        """Waits until one announces, or none could be brought to it. Lost only when nobody announces any more.

        Raises RpcUnavailable where nobody does.
        """
        self._wanted = wanted if wanted is not None else self._wanted
        self._wanting.set()
        await self._settled.wait()
        if not any(endpoint.announces for endpoint in self._endpoints):
            raise RpcUnavailable("no endpoint announces blocks")
        self._streams.append(NewsStream(tells_logs=bool(self._telling)))
        return self._streams[-1]

    async def _listen(self, endpoint: Endpoint) -> None:
        await self._wanting.wait()
        while True:
            try:
                stream = await endpoint.rpc.subscribe(self._wanted)
                endpoint.announces = True
                self._tells(endpoint, stream.tells_logs)
                self._settled.set()
                async for news in stream:
                    for told in news.logs:
                        self._log(endpoint, told)
                    for header in news.heads:
                        self._head(endpoint, header)
            except RpcRejected as error:
                log.warning("chain_subscription_refused", endpoint=endpoint.name, reason=str(error))
                self._quiet(endpoint, RpcUnavailable("no endpoint announces blocks"))
                return
            except ChainError as error:
                endpoint.wrong = error if isinstance(error, WrongNetwork) else endpoint.wrong
                self._quiet(endpoint, error)
            await self._clock.sleep(REST * (0.5 + self._random()))

    def _tells(self, endpoint: Endpoint, tells: bool) -> None:
        """A stream tells logs if somebody does."""
        (self._telling.add if tells else self._telling.discard)(endpoint.name)
        for stream in self._streams:
            stream.tells_logs = bool(self._telling)

    def _head(self, endpoint: Endpoint, header: Json) -> None:
        endpoint.saw(header)
        if _new(self._heads, str(header.get("hash")).lower(), None, _HEADS):
            for stream in self._streams:
                stream.put_head(header)

    def _log(self, endpoint: Endpoint, told: Told) -> None:
        if told.log.get("removed"):  # the heads tell of undone blocks
            return
        name = log_id(told.log)
        if _new(self._logs, name, endpoint.name, _LOGS):
            for stream in self._streams:
                stream.put_log(told.log, endpoint.name)
        elif self._logs[name] != endpoint.name:
            _new(self._seconded, name, None, _LOGS)

    def _quiet(self, endpoint: Endpoint, error: ChainError) -> None:
        """Subscribers hear of it once nobody announces any more."""
        endpoint.announces = False
        self._tells(endpoint, False)
        self._tried.add(endpoint.name)
        if any(one.announces for one in self._endpoints) or len(self._tried) < len(self._endpoints):
            return
        self._settled.set()
        for stream in self._streams:
            stream.lose(RpcUnavailable(f"no endpoint announces blocks: {error}"))
        self._streams.clear()


def _new(known: dict[Any, Any], key: object, value: object, limit: int) -> bool:
    """Whether `key` was not known; it is from now on, and the oldest are forgotten."""
    if key in known:
        return False
    known[key] = value
    if len(known) > limit:
        del known[next(iter(known))]
    return True
