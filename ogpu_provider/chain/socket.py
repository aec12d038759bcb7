"""One persistent websocket: calls multiplexed by id, subscriptions to heads and logs, reconnects for ever."""

import asyncio
import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus, WebSocketException

from ogpu_provider.chain.news import Json, NewsStream
from ogpu_provider.chain.wire import Call, JsonRpcError, outcome
from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.errors import ChainError, RpcUnavailable, WrongNetwork

log = structlog.get_logger(__name__)

_MAX_MESSAGE = 128 << 20  # bytes; one getTasks of a busy source is megabytes of hex
_PING_EVERY = 5.0  # seconds; a half-open connection is given up after at most two of these
_PAUSE = 0.25  # seconds before the first reconnect, doubled by each failure
_PAUSE_MAX = 15.0


_Take = Callable[[object], None]


@dataclass(slots=True)
class _Pending:
    """A call under way. `take` gets what a subscription brings."""

    number: int
    method: str
    future: asyncio.Future[Any]
    take: _Take | None = None


@dataclass(slots=True)
class _Session:
    """What belongs to one connection and dies with it."""

    ws: ClientConnection
    pending: dict[int, _Pending] = field(default_factory=dict)
    takers: dict[str, _Take] = field(default_factory=dict)
    streams: list[NewsStream] = field(default_factory=list)
    received: int = 0

    def end(self, error: RpcUnavailable) -> None:
        for waiting in self.pending.values():
            if not waiting.future.done():
                waiting.future.set_exception(error)
        for stream in self.streams:
            stream.lose(error)
        self.pending.clear()
        self.takers.clear()
        self.streams.clear()

    def take(self, text: str | bytes) -> None:
        """Hand a message to whom it concerns. Raises RpcUnavailable for what is no JSON: the stream is broken."""
        self.received += 1
        try:
            message = json.loads(text)
        except ValueError as err:
            raise RpcUnavailable("the node sent something that is not JSON") from err
        if not isinstance(message, dict):
            return
        if message.get("method") == "eth_subscription":
            params = message.get("params")
            if isinstance(params, dict) and (take := self.takers.get(str(params.get("subscription")))):
                take(params.get("result"))
            return
        number = message.get("id")
        waiting = self.pending.pop(number, None) if isinstance(number, int) else None
        if waiting is not None and not waiting.future.done():
            self._settle(waiting, message)

    def _settle(self, waiting: _Pending, message: dict[str, Any]) -> None:
        try:
            result = outcome(waiting.method, message)
        except RpcUnavailable as err:
            waiting.future.set_exception(err)
            return
        if waiting.take is not None and isinstance(result, str):
            self.takers[result] = waiting.take  # before the next message is read
        waiting.future.set_result(result)


class Socket:
    """`run` keeps the connection; the other methods use it.

    On every new connection the `probe` calls are made; `judge` raises if their answers are those of another network.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float,
        clock: Clock,
        random: Callable[[], float],
        counts: Counter[str],
        probe: Sequence[Call],
        judge: Callable[[Sequence[Any]], None],
    ) -> None:
        self._url = url
        self._timeout = timeout
        self._clock = clock
        self._random = random
        self._counts = counts
        self._probe = probe
        self._judge = judge
        self._ids = count(1)
        self._session: _Session | None = None
        self._tried = asyncio.Event()
        self._wrong: WrongNetwork | None = None
        self.connections = 0
        self.lost = ""
        """Why there is no connection; empty while there is one, and before the first try."""

    @property
    def open(self) -> bool:
        return self._session is not None

    @property
    def ready(self) -> bool:
        """Raises WrongNetwork if that is what the last connection led to."""
        if self._wrong is not None:
            raise self._wrong
        return self._session is not None

    async def settled(self) -> None:
        """Wait for the end of the first attempt to connect, whichever way it went."""
        await self._tried.wait()

    async def run(self) -> None:
        """Connect, serve, connect again; ends only by cancellation."""
        failures = 0
        while True:
            before = self.connections
            try:
                await self._serve()
            except (OSError, TimeoutError, WebSocketException, ChainError) as err:
                failures = 0 if self.connections > before else failures + 1
                self._wrong = err if isinstance(err, WrongNetwork) else None
                self.lost = _reason(err)
                log.warning("rpc_socket_lost", reason=self.lost, failures=failures)
            self._tried.set()
            await self._clock.sleep(min(_PAUSE_MAX, _PAUSE * 2 ** min(failures, 10)) * (0.5 + self._random()))

    async def _serve(self) -> None:
        """One connection from beginning to end; always ends by raising."""
        async with connect(
            self._url,
            open_timeout=self._timeout,
            close_timeout=1,
            ping_interval=_PING_EVERY,
            ping_timeout=_PING_EVERY,
            max_size=_MAX_MESSAGE,
            compression=None,
            proxy=None,
        ) as ws:
            session = _Session(ws)
            try:
                await self._check(session)
                self._session, self._wrong, self.lost = session, None, ""
                self.connections += 1
                self._tried.set()
                log.info("rpc_socket_open", connections=self.connections)
                async for text in ws:
                    session.take(text)
            finally:
                self._session = None
                session.end(RpcUnavailable("the connection to the node was lost"))
        raise RpcUnavailable("the node closed the connection")

    async def _check(self, session: _Session) -> None:
        waiting: list[_Pending] = []
        try:
            async with asyncio.timeout(self._timeout):
                for method, params in self._probe:
                    waiting.append(await self._send(session, method, params))
                while not all(one.future.done() for one in waiting):
                    session.take(await session.ws.recv())
            self._judge([one.future.result() for one in waiting])
        finally:
            _forget(session, waiting)

    async def exchange(self, calls: Sequence[Call]) -> list[Any | JsonRpcError]:
        """Make the calls at once, one message each; answers in the same order. Raises RpcUnavailable."""
        session = self._ready()
        received = session.received
        waiting: list[_Pending] = []
        try:
            async with asyncio.timeout(self._timeout):
                for method, params in calls:
                    waiting.append(await self._send(session, method, params))
                return [await one.future for one in waiting]
        except TimeoutError as err:
            if session.received == received:  # nothing at all came: the far end is gone, whatever TCP says
                session.ws.transport.abort()
            raise RpcUnavailable(f"{calls[0][0]}: no answer in {self._timeout:g} s") from err
        except WebSocketException as err:
            raise RpcUnavailable(f"{calls[0][0]}: the connection to the node was lost") from err
        finally:
            _forget(session, waiting)

    async def subscribe(self, wanted: Json | None, by: str) -> NewsStream:
        """New headers, and logs that fit `wanted` where the node announces those. `by` names the endpoint.

        Raises RpcUnavailable, and JsonRpcError if headers are refused.
        """
        session = self._ready()
        stream = NewsStream()
        heads = await self._subscription(session, stream.put_head, "newHeads")
        if isinstance(heads, JsonRpcError):
            raise heads
        if wanted is not None:
            logs = await self._subscription(session, lambda log: stream.put_log(log, by), "logs", wanted)
            stream.tells_logs = not isinstance(logs, JsonRpcError)
        if session is not self._session:
            raise RpcUnavailable("the connection to the node was lost")
        session.streams.append(stream)
        return stream

    async def _subscription(self, session: _Session, take: _Take, *params: Any) -> Any:
        try:
            async with asyncio.timeout(self._timeout):
                return await (await self._send(session, "eth_subscribe", params, take)).future
        except (TimeoutError, WebSocketException) as err:
            raise RpcUnavailable("eth_subscribe: no answer") from err

    def _ready(self) -> _Session:
        if not self.ready or self._session is None:
            raise RpcUnavailable("there is no connection to the node")
        return self._session

    async def _send(self, session: _Session, method: str, params: Sequence[Any], take: _Take | None = None) -> _Pending:
        number = next(self._ids)
        waiting = _Pending(number, method, asyncio.get_running_loop().create_future(), take)
        session.pending[number] = waiting
        self._counts[method] += 1
        try:
            await session.ws.send(json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}))
        except BaseException:
            _forget(session, [waiting])
            raise
        return waiting


def _reason(error: Exception) -> str:
    """Why there is no connection, without the URL, which may hold a key of the operator."""
    if isinstance(error, ChainError):
        return str(error)[:200]
    if isinstance(error, InvalidStatus):
        return f"the websocket is refused: HTTP {error.response.status_code}"
    if isinstance(error, ConnectionError) and error.errno:
        return f"no websocket: {os.strerror(error.errno)}"
    return f"no websocket: {getattr(error, 'strerror', None) or type(error).__name__}"


def _forget(session: _Session, waiting: Sequence[_Pending]) -> None:
    """Nobody waits for these any more; a failure among them that was not the first is not worth a warning."""
    for one in waiting:
        session.pending.pop(one.number, None)
        if one.future.done() and not one.future.cancelled():
            one.future.exception()
