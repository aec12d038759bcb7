"""The daemon's end of the control socket: for its own user and root, nobody else.

A verb that fails is answered with its error and takes nothing down. Connections are few, slow ones are closed.
"""

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import structlog

from ogpu_provider.control.wire import REQUEST_LIMIT, peer_uid, reachable
from ogpu_provider.domain.errors import ControlError, ProviderError
from ogpu_provider.domain.listener import Listener, streams

log = structlog.get_logger()

Verb = Callable[[Mapping[str, Any]], Awaitable[object]]
"""Given the request's args: what is answered, as JSON. Raises ProviderError for a refusal."""

IDLE_S = 30.0
MOST_CONNECTIONS = 16
BACKLOG = 64


class ControlServer:
    """`async with ControlServer(path, verbs):` listens until left. One server per data directory: the journal's lock,
    which the daemon holds by now, is what makes replacing a socket that a crash left behind safe.

    Raises ControlError (`control.unusable`) if the socket cannot be made.
    """

    def __init__(self, path: Path, verbs: Mapping[str, Verb], *, own_uid: int | None = None) -> None:
        self.path = path
        self._verbs = verbs
        self._trusted = frozenset({0, os.geteuid() if own_uid is None else own_uid})
        self._server: Listener | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        try:
            bound = self._bind()
        except OSError as error:
            text = f"{self.path}: {error.strerror}"
            raise ControlError(text, code="control.unusable", remedy="check owner and mode of data_dir") from error
        self._server = Listener(bound, streams(self._serve, limit=REQUEST_LIMIT))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for writer in tuple(self._open):
            writer.close()
        self.path.unlink(missing_ok=True)

    def _bind(self) -> socket.socket:
        """Mode 0600 before anybody can connect: a socket that does not listen yet refuses."""
        self.path.unlink(missing_ok=True)
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with reachable(self.path) as name:
                made.bind(name)
            os.chmod(self.path, 0o600)
            made.listen(BACKLOG)
        except BaseException:
            made.close()
            raise
        return made

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        uid = peer_uid(writer.get_extra_info("socket"))
        try:
            if uid not in self._trusted or len(self._open) >= MOST_CONNECTIONS:
                log.warning("control_refused", uid=uid, connections=len(self._open))
                return
            self._open.add(writer)
            while line := await _line(reader):
                writer.write(json.dumps(await self._answer(line), default=str).encode() + b"\n")
                async with asyncio.timeout(IDLE_S):
                    await writer.drain()
        except (TimeoutError, ConnectionError, ValueError):  # ValueError: a line over the limit
            pass
        finally:
            self._open.discard(writer)
            writer.close()
            with contextlib.suppress(ConnectionError, TimeoutError):
                async with asyncio.timeout(1.0):
                    await writer.wait_closed()

    async def _answer(self, line: bytes) -> dict[str, object]:
        try:
            verb, args = _request(line)
            if verb not in self._verbs:
                known = ", ".join(sorted(self._verbs))
                raise ControlError(f"there is no verb {verb!r}", code="control.unknown_verb", remedy=f"one of {known}")
            return {"ok": await self._verbs[verb](args)}
        except ProviderError as error:
            return {"error": {"code": error.code, "message": str(error), "remedy": error.remedy}}
        except Exception:
            log.exception("control_verb_crashed")
            return {"error": {"code": "internal", "message": "a defect; see the daemon's log", "remedy": ""}}


def _request(line: bytes) -> tuple[str, Mapping[str, Any]]:
    try:
        request: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ControlError("the request is not JSON", code="control.bad_request") from error
    verb = request.get("verb") if isinstance(request, dict) else None
    args = request.get("args", {}) if isinstance(request, dict) else None
    if not isinstance(verb, str) or not isinstance(args, dict):
        raise ControlError("a request has a verb and args", code="control.bad_request")
    return verb, args


async def _line(reader: asyncio.StreamReader) -> bytes:
    """Raises TimeoutError. (`wait_for` of Python 3.11 loses a cancellation that comes with the answer.)"""
    async with asyncio.timeout(IDLE_S):
        return await reader.readline()
