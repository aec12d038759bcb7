"""The HTTP server of the gateway, with its limits. It receives a request as a whole within a time: a client that drips
holds a place no longer than that."""

import asyncio
import socket
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from ogpu_provider.domain.errors import ConfigError

HEADER_LIMIT = 16 << 10
CONNECTIONS = 512
"""Requests beyond them are answered 503."""
RECEIVE_S = 15.0


def _punctual(receive_s: float) -> type[H11Protocol]:
    class Punctual(H11Protocol):
        """uvicorn has no deadline for receiving. The time runs from the connection, or from a request's first byte."""

        _deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._begin()

        def data_received(self, data: bytes) -> None:
            if self._deadline is None:
                self._begin()
            super().data_received(data)
            if self.conn.their_state is not h11.SEND_BODY and self.conn.their_state is not h11.IDLE:
                self._end()

        def connection_lost(self, exc: Exception | None) -> None:
            self._end()
            super().connection_lost(exc)

        def _begin(self) -> None:
            self._deadline = self.loop.call_later(receive_s, self.transport.abort)

        def _end(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

    return Punctual


def bound(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises ConfigError gateway.address."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise ConfigError(
            f"the Tasks API cannot listen on {host} port {port}: {error.strerror or error}",
            code="gateway.address",
            remedy="set gateway.host and gateway.port to what is free on this host",
        ) from error


async def listen(app: ASGIApp, at: socket.socket, *, receive_s: float = RECEIVE_S) -> None:
    """Serve on a listening socket until canceled."""
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=None,
            lifespan="off",
            http=_punctual(receive_s),
            h11_max_incomplete_event_size=HEADER_LIMIT,
            limit_concurrency=CONNECTIONS,
            timeout_keep_alive=15,
            timeout_graceful_shutdown=5,
            server_header=False,
        )
    )
    await server._serve([at])  # `serve` would take the signals, which are the command's
