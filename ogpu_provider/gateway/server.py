"""The HTTP server of the gateway, with its limits. It receives a request as a whole within a time: a client that drips
holds a place no longer than that."""

import asyncio
import socket
from functools import partial
from typing import Any

import structlog
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ogpu_provider.domain.listener import Listener

log = structlog.get_logger(__name__)
HEADER_LIMIT = 16 << 10
BACKLOG = 2048
"""Connections that wait to be taken in."""
CONNECTIONS = 512
"""Requests beyond them are answered 503."""
RECEIVE_S = 15.0
LEAVING_S = 5
CHUNKED = 6
"""Bytes on the line for one of a body, at most: in chunks of one byte each."""


class Limited(HttpToolsProtocol):
    """uvicorn has no deadline for receiving, and with this parser no limit of a header: the parser collects what
    it was not told the end of. `receive_s` (seconds) run from the connection, or from a request's first byte;
    `message_limit` is of a request's bytes on the line."""

    receive_s: float
    message_limit: int

    _deadline: asyncio.TimerHandle | None = None
    _in_head = False
    _taken = _fields = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._begin()

    def data_received(self, data: bytes) -> None:
        self._begin()
        self._taken += len(data)
        super().data_received(data)
        if self._taken > (HEADER_LIMIT if self._in_head else self.message_limit) and not self.transport.is_closing():
            self.send_400_response("The request is too large.")

    def on_message_begin(self) -> None:
        self._begin()
        self._in_head, self._taken, self._fields = True, 0, 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._measure(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._measure(name + value)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._end()
        self._taken = 0

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()
        super().connection_lost(exc)

    def _measure(self, part: bytes) -> None:
        """Raises ValueError, which the parser's caller answers with 400."""
        self._fields += len(part)
        if self._fields > HEADER_LIMIT:
            raise ValueError("the header is too large")

    def _begin(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(self.receive_s, self.transport.abort)

    def _end(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


async def listen(app: ASGIApp, at: socket.socket, *, body_limit: int, receive_s: float = RECEIVE_S) -> None:
    """Serve on a listening socket until canceled; what is being answered then has LEAVING_S.

    `body_limit` in bytes: far more than it can come to is not read.
    """
    limits = {"receive_s": receive_s, "message_limit": HEADER_LIMIT + CHUNKED * body_limit}
    protocol = type("Limited", (Limited,), limits)
    config = uvicorn.Config(
        app,
        log_config=None,
        lifespan="off",
        http=protocol,
        ws="none",
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=LEAVING_S,
        server_header=False,
    )
    config.load()
    server = uvicorn.Server(config)
    at.listen(BACKLOG)
    made = partial(protocol, config=config, server_state=server.server_state, app_state={})
    listener = Listener(at, made, short=_Short())
    serving = asyncio.ensure_future(server._serve([]))  # `serve` would take the signals, which are the command's
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        listener.close()
        server.should_exit = True
        await serving
        raise


class _Short:
    """Says once that callers have to wait."""

    _said = False

    def __call__(self, error: OSError) -> None:
        if not self._said:
            self._said = True
            remedy = "raise the limit of open files (LimitNOFILE, ulimit -n)"
            log.error("callers_wait", error=str(error), remedy=remedy)
