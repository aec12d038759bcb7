"""One request and its answer on one connection, with h11."""

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Protocol

import h11

from ogpu_provider.domain.units import Address
from ogpu_provider.runtime.callback.body import Body
from ogpu_provider.runtime.callback.limits import CallbackLimits

CHUNK = 64 * 1024
_LINGER_SECONDS = 1.0


class Refused(Exception):
    """The answer is known: the HTTP status."""

    def __init__(self, status: int) -> None:
        self.status = status


class Clerk(Protocol):
    """Who knows the answers. All but `failed` may raise Refused."""

    @property
    def limits(self) -> CallbackLimits: ...

    @property
    def folder(self) -> Path | None: ...

    def recognise(self, method: str, target: str) -> tuple[Address, Address]: ...

    async def foresee(self, source: Address, task: Address, size: int | None) -> None:
        """Before a body is read; `size` as declared, None if it comes in chunks."""

    async def judge(self, source: Address, task: Address, body: Body) -> int: ...

    async def too_large(self, source: Address, task: Address) -> Refused: ...

    def failed(self, kind: str, error: Exception | None = None) -> None: ...


class Pace:
    """Reads with a demand on the sender: see CallbackLimits. Only the time spent waiting for it counts."""

    def __init__(self, reader: asyncio.StreamReader, window: float, pace: int) -> None:
        self._reader = reader
        self._window = window
        self._due = int(window * pace)
        self._left = window
        self._brought = 0

    async def read(self) -> bytes:
        """Raises TimeoutError if the sender is too slow."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                async with asyncio.timeout(max(0.0, self._left)):
                    data = await self._reader.read(CHUNK)
            except TimeoutError:
                if self._brought < self._due:
                    raise
                self._left, self._brought = self._window, 0
                continue
            self._left -= loop.time() - began
            self._brought += len(data)
            return data


class Exchange:
    def __init__(self, clerk: Clerk, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clerk = clerk
        self._reader = reader
        self._writer = writer
        self._pace = Pace(reader, clerk.limits.window, clerk.limits.pace)
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=clerk.limits.header)
        self._body = Body(clerk.folder)

    async def run(self) -> None:
        """Receive, have it judged, answer. Raises ConnectionError and TimeoutError if the sender is gone."""
        try:
            status = await self._serve()
        except Refused as refused:
            status = refused.status
        except h11.RemoteProtocolError as error:
            self._clerk.failed("bad_request")
            status = error.error_status_hint
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception as error:  # it was not stored: the container must not take this for a 200
            self._clerk.failed("failed", error)
            status = 503
        finally:
            self._body.close()
        await self._answer(status)

    async def _serve(self) -> int:
        try:
            source, task = await self._receive()
        except TimeoutError:
            self._clerk.failed("too_slow")
            raise Refused(408) from None
        return await self._clerk.judge(source, task, self._body)

    async def _receive(self) -> tuple[Address, Address]:
        request = await self._event()
        if not isinstance(request, h11.Request):
            raise Refused(400)
        target = request.target.decode("ascii", "replace").partition("?")[0]
        source, task = self._clerk.recognise(request.method.decode("ascii", "replace"), target)
        declared = next((int(value) for name, value in request.headers if name == b"content-length"), None)
        chunked = any(name == b"transfer-encoding" for name, _ in request.headers)
        await self._clerk.foresee(source, task, None if chunked else declared or 0)
        if self._http.they_are_waiting_for_100_continue:
            proceed = h11.InformationalResponse(status_code=100, headers=[])
            self._writer.write(self._http.send(proceed) or b"")
        while isinstance(event := await self._event(), h11.Data):
            if self._body.size + len(event.data) > self._clerk.limits.body:
                raise await self._clerk.too_large(source, task)
            await self._body.add(event.data)
        return source, task

    async def _event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        while True:
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                if isinstance(event, h11.ConnectionClosed):
                    raise ConnectionResetError
                return event
            self._http.receive_data(await self._pace.read())

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
        async with asyncio.timeout(self._clerk.limits.drain):
            await self._writer.drain()
        if self._http.their_state is h11.SEND_BODY:
            await self._linger()

    async def _linger(self) -> None:
        """Let a sender that is still at it read our answer: closing on unread bytes would reset the connection."""
        self._writer.write_eof()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_SECONDS):
                while await self._reader.read(CHUNK):
                    pass
