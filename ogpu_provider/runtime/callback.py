"""Where sources' containers post their results: POST /{token}/{task} with JSON, once, without authentication.

The framework in the container posts a result one time and has no time limit, so the answer 200 means "it is safe":
the sink stored it. The token names the source and proves it (HMAC), so it needs no memory and survives restarts; a
container cannot speak for another source. Every request has a deadline for its arrival, a size, and a connection of
its own: a container that drips bytes holds one of a bounded number of places, and nobody else's.

Written on asyncio and h11, because the usual servers have no deadline for receiving a request.
"""

import asyncio
import contextlib
import hmac
import json
import re
import socket
from collections import Counter
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Protocol, Self

import h11
import structlog

from ogpu_provider.domain.documents import nested_deeper
from ogpu_provider.domain.task import ResultOutcome
from ogpu_provider.domain.units import Address
from ogpu_provider.domain.verdict import Reason

log = structlog.get_logger()
_PATH = re.compile(r"/(?P<source>0x[0-9a-fA-F]{40})-(?P<proof>[0-9a-f]{64})/(?P<task>0x[0-9a-fA-F]{40})")
_CHUNK = 256 * 1024
_LINGER_SECONDS = 1.0
_IN_LINE = 256 * 1024
"""Bodies up to here are checked on the loop; larger ones in a thread."""
_STATUS: Final = {
    ResultOutcome.STORED: 200,
    ResultOutcome.SAME: 200,
    ResultOutcome.CONFLICT: 409,
    ResultOutcome.LATE: 404,
    ResultOutcome.UNKNOWN: 404,
}


class ResultSink(Protocol):
    """The path's end for results; `accept` returns when a result is durable."""

    async def accept(self, source: Address, task: Address, body: bytes) -> ResultOutcome: ...

    async def refuse(self, source: Address, task: Address, reason: Reason) -> None: ...


@dataclass(frozen=True, slots=True)
class CallbackLimits:
    """`body` in bytes, times in seconds. `connections` in all, `per_peer` from one address.

    `drain`: how long open requests may take to finish when the server is closed.
    """

    body: int = 64 << 20
    header: int = 16 << 10
    depth: int = 128
    receive: float = 60.0
    connections: int = 256
    per_peer: int = 32
    drain: float = 5.0


class CallbackServer:
    """Listens from entering to leaving its context. `host` is the bridge's gateway address; port 0 takes a free one.

    `listener`: a listening socket that somebody else keeps open (socket activation); then host and port are for
    the URLs only. Raises OSError on entry if the address cannot be bound.
    """

    def __init__(
        self,
        host: str,
        port: int,
        secret: bytes,
        sink: ResultSink,
        limits: CallbackLimits | None = None,
        *,
        listener: socket.socket | None = None,
    ) -> None:
        if len(secret) < 16:
            raise ValueError("the secret is shorter than 16 bytes")
        self._host = host
        self._port = port
        self._secret = secret
        self._sink = sink
        self._limits = limits or CallbackLimits()
        self._listener = listener
        self._server: asyncio.Server | None = None
        self._peers: Counter[str] = Counter()
        self._open: set[asyncio.Task[None]] = set()
        self.counts: Counter[str] = Counter()
        """Answers by kind (stored, same, conflict, late, unknown, bad_token, too_large, ...), for metrics."""

    @property
    def port(self) -> int:
        return self._port

    def url(self, source: Address) -> str:
        """Where this source's containers post, without the task and without a slash at the end."""
        return f"http://{self._host}:{self._port}/{self._token(source)}"

    async def __aenter__(self) -> Self:
        if self._listener is not None:
            self._server = await asyncio.start_server(self._accepted, sock=self._listener, limit=_CHUNK)
        else:
            self._server = await asyncio.start_server(self._accepted, self._host, self._port, limit=_CHUNK)
        self._port = self._port or self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Accept no more, let open requests finish for a while."""
        if self._server is not None:
            self._server.close()
        if self._open:
            await asyncio.wait(set(self._open), timeout=self._limits.drain)
        for task in self._open:
            task.cancel()

    def _token(self, source: Address) -> str:
        return f"{source}-{hmac.digest(self._secret, source.encode(), 'sha256').hex()}"

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        peer = str((writer.get_extra_info("peername") or ("",))[0])
        if len(self._open) >= self._limits.connections or self._peers[peer] >= self._limits.per_peer:
            self.counts["too_many"] += 1
            writer.transport.abort()
            return
        self._open.add(task)
        self._peers[peer] += 1
        try:
            await _Exchange(self, reader, writer).run()
        except (ConnectionError, TimeoutError, h11.ProtocolError):
            self.counts["broken"] += 1
        finally:
            self._open.discard(task)
            self._peers[peer] -= 1
            if not self._peers[peer]:
                del self._peers[peer]
            writer.close()
            with contextlib.suppress(ConnectionError, TimeoutError):
                await writer.wait_closed()

    def recognise(self, target: str) -> tuple[Address, Address] | None:
        """Source and task of a path with a good token."""
        match = _PATH.fullmatch(target)
        if not match:
            return None
        source = Address(match["source"])
        proof = hmac.digest(self._secret, source.encode(), "sha256").hex()
        return (source, Address(match["task"])) if hmac.compare_digest(proof, match["proof"]) else None

    @property
    def limits(self) -> CallbackLimits:
        return self._limits

    async def judge(self, source: Address, task: Address, body: bytes) -> int:
        """The HTTP status for a complete body."""
        problem = (
            json_problem(body, self._limits.depth)
            if len(body) <= _IN_LINE
            else await asyncio.to_thread(json_problem, body, self._limits.depth)
        )
        if problem:
            return await self.refuse(source, task, 422, Reason("result.not_json", f"the result {problem}"))
        outcome = await self._sink.accept(source, task, body)
        self.counts[outcome.value] += 1
        if outcome not in (ResultOutcome.STORED, ResultOutcome.SAME):
            log.warning("result_refused", source=source, task=task, outcome=outcome.value)
        return _STATUS[outcome]

    async def refuse(self, source: Address, task: Address, status: int, reason: Reason) -> int:
        self.counts[reason.code.removeprefix("result.")] += 1
        log.warning("result_refused", source=source, task=task, code=reason.code, reason=reason.text)
        await self._sink.refuse(source, task, reason)
        return status


class _Refused(Exception):
    def __init__(self, status: int) -> None:
        self.status = status


class _Exchange:
    """One request and its answer on one connection."""

    def __init__(self, server: CallbackServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=server.limits.header)

    async def run(self) -> None:
        try:
            try:
                async with asyncio.timeout(self._server.limits.receive):
                    source, task, body = await self._receive()
            except TimeoutError:
                self._server.counts["too_slow"] += 1
                raise _Refused(408) from None
            status = await self._server.judge(source, task, body)
        except _Refused as refused:
            status = refused.status
        except h11.RemoteProtocolError as error:
            self._server.counts["bad_request"] += 1
            status = error.error_status_hint
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception as error:  # the sink failed: the container must not take this for a 200
            self._server.counts["failed"] += 1
            log.error("result_not_stored", error=repr(error))
            status = 503
        await self._answer(status)

    async def _receive(self) -> tuple[Address, Address, bytes]:
        request = await self._event()
        if not isinstance(request, h11.Request):
            raise _Refused(400)
        found = self._server.recognise(request.target.decode("ascii", "replace").partition("?")[0])
        if found is None:
            self._server.counts["bad_token"] += 1
            raise _Refused(404)
        if request.method != b"POST":
            raise _Refused(405)
        if self._http.they_are_waiting_for_100_continue:
            proceed = h11.InformationalResponse(status_code=100, headers=[])
            self._writer.write(self._http.send(proceed) or b"")
        source, task = found
        return source, task, await self._body(source, task, request)

    async def _body(self, source: Address, task: Address, request: h11.Request) -> bytes:
        limit = self._server.limits.body
        declared = next((int(value) for name, value in request.headers if name == b"content-length"), 0)
        body = bytearray()
        if declared <= limit:
            while isinstance(event := await self._event(), h11.Data):
                body += event.data
                if len(body) > limit:
                    break
            else:
                return bytes(body)
        reason = Reason("result.too_large", f"the result has more than {limit} bytes")
        raise _Refused(await self._server.refuse(source, task, 413, reason))

    async def _event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        while True:
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                if isinstance(event, h11.ConnectionClosed):
                    raise ConnectionResetError
                return event
            self._http.receive_data(await self._reader.read(_CHUNK))

    async def _answer(self, status: int) -> None:
        body = json.dumps({"status": status}).encode()
        headers = [("content-type", "application/json"), ("content-length", str(len(body))), ("connection", "close")]
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        events: tuple[h11.Event, ...] = (
            h11.Response(status_code=status, headers=headers),
            h11.Data(data=body),
            h11.EndOfMessage(),
        )
        self._writer.write(b"".join(self._http.send(event) or b"" for event in events))
        async with asyncio.timeout(self._server.limits.drain):
            await self._writer.drain()
        if self._http.their_state is h11.SEND_BODY:
            await self._linger()

    async def _linger(self) -> None:
        """Let a sender that is still at it read our answer: closing on unread bytes would reset the connection."""
        self._writer.write_eof()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_SECONDS):
                while await self._reader.read(_CHUNK):
                    pass


def json_problem(body: bytes, depth: int) -> str:
    """Why a body is no JSON result, empty if it is one. NaN and Infinity are no JSON, whatever Python thinks."""
    if not body.strip():
        return "is empty"
    if nested_deeper(body, depth):
        return f"is nested deeper than {depth}"
    try:
        json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        return f"is not UTF-8 at byte {error.start}"
    except ValueError as error:
        return f"is not JSON: {error}"[:300]
    return ""


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")
