"""Where sources' containers post their results: POST /{token}/{task} with JSON, once, without authentication.

The framework in the container posts a result one time and has no time limit, so the answer 200 means "it is safe":
the sink stored it. The token names the source and proves it (HMAC), so it needs no memory and survives restarts; a
container cannot speak for another source. What a request may take, in time, bytes and places, is in CallbackLimits.

Written on asyncio and h11, because the usual servers have no deadline for receiving a request.
"""

import asyncio
import contextlib
import hmac
import re
import socket
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

import h11
import structlog

from ogpu_provider.domain.errors import ConfigError
from ogpu_provider.domain.listener import Listener, streams
from ogpu_provider.domain.task import ResultOutcome
from ogpu_provider.domain.units import Address
from ogpu_provider.domain.verdict import Reason
from ogpu_provider.runtime.callback.body import IN_MEMORY, Body
from ogpu_provider.runtime.callback.exchange import CHUNK, Exchange, Refused
from ogpu_provider.runtime.callback.limits import CallbackLimits
from ogpu_provider.runtime.callback.places import Place, Places

log = structlog.get_logger()
_PATH = re.compile(r"/(?P<source>0x[0-9a-fA-F]{40})-(?P<proof>[0-9a-f]{64})/(?P<task>0x[0-9a-fA-F]{40})")
_BACKLOG = 512
_QUIET_SECONDS = 10.0
_STATUS: Final = {
    ResultOutcome.STORED: 200,
    ResultOutcome.SAME: 200,
    ResultOutcome.CONFLICT: 409,
    ResultOutcome.LATE: 404,
    ResultOutcome.UNKNOWN: 404,
}


class ResultSink(Protocol):
    """The path's end for results."""

    async def foresee(self, source: Address, task: Address) -> ResultOutcome | None:
        """UNKNOWN or LATE if that is what any result of this task would be; None if one is looked at."""

    async def accept(self, source: Address, task: Address, body: bytes) -> ResultOutcome:
        """Durable when it returns STORED."""

    async def refuse(self, source: Address, task: Address, reason: Reason) -> None: ...


def not_here(host: str, error: OSError) -> ConfigError:
    """Nothing can listen at the address that containers are to post their results to."""
    return ConfigError(
        f"results cannot be taken at {host}: {error.strerror or error}",
        code="config.callback_host",
        remedy="set callback.host to an address that this host has on the engine's bridge, and callback.port to a "
        "free one; an engine without root has its bridge elsewhere: use one with userns-remap instead",
    )


class CallbackServer:
    """Listens from entering to leaving its context. `host` is the bridge's gateway address; port 0 takes a free one.

    `listener`: a listening socket that somebody else keeps open (socket activation); then host and port are for
    the URLs only. `folder`: where large bodies are kept until they are judged. Raises OSError on entry if the address
    cannot be bound.
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
        folder: Path | None = None,
    ) -> None:
        if len(secret) < 16:
            raise ValueError("the secret is shorter than 16 bytes")
        self.limits = limits or CallbackLimits()
        self.folder = folder
        self.counts: Counter[str] = Counter()
        """Answers by kind (stored, same, conflict, late, unknown, bad_token, too_large, ...), for metrics."""
        self._host = host
        self._port = port
        self._secret = secret
        self._sink = sink
        self._listener = listener
        self._server: Listener | None = None
        self._places = Places(self.limits.waiting, self.limits.per_peer, self.limits.per_source)
        self._open: set[asyncio.Task[None]] = set()
        self._one_large = asyncio.Lock()
        self._quiet: dict[tuple[Address, str], float] = {}
        self._unsaid: Counter[tuple[Address, str]] = Counter()

    @property
    def port(self) -> int:
        return self._port

    def url(self, source: Address) -> str:
        """Where this source's containers post, without the task and without a slash at the end."""
        return f"http://{self._host}:{self._port}/{source}-{self._proof(source)}"

    async def __aenter__(self) -> Self:
        sock = self._listener or self._bound()
        self._server = Listener(sock, streams(self._accepted, limit=CHUNK), short=self._crowded)
        self._port = self._port or self._server.address[1]
        return self

    def _bound(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        try:
            return socket.create_server((self._host, self._port), family=family, backlog=_BACKLOG)
        except OSError as error:
            raise not_here(self._host, error) from error

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Accept no more, let open requests finish for a while."""
        if self._server is not None:
            self._server.close()
        if self._open:
            await asyncio.wait(set(self._open), timeout=self.limits.drain)
        for task in self._open:
            task.cancel()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        peer = str((writer.get_extra_info("peername") or ("",))[0])
        place = Place(peer, writer.transport.abort)
        if self._places.enter(place) is not None:
            self.counts["put_out"] += 1
        self._open.add(task)
        try:
            await Exchange(_Desk(self, place), reader, writer).run()
        except (ConnectionError, TimeoutError, h11.ProtocolError):
            self.counts["broken"] += 1
        finally:
            self._open.discard(task)
            self._places.leave(place)
            writer.close()
            with contextlib.suppress(ConnectionError, TimeoutError):
                await writer.wait_closed()

    def _crowded(self, error: OSError) -> None:
        self.counts["crowded"] += 1
        if self.counts["crowded"] == 1:
            log.error("results_wait", error=str(error), remedy="raise the limit of open files (LimitNOFILE, ulimit -n)")

    def recognise(self, target: str) -> tuple[Address, Address] | None:
        """Source and task of a path with a good token."""
        match = _PATH.fullmatch(target)
        if not match:
            return None
        source = Address(match["source"])
        return (source, Address(match["task"])) if hmac.compare_digest(self._proof(source), match["proof"]) else None

    def show(self, place: Place, source: Address) -> bool:
        return self._places.show(place, source)

    async def foresee(self, source: Address, task: Address) -> ResultOutcome | None:
        return await self._sink.foresee(source, task)

    async def judge(self, source: Address, task: Address, body: Body) -> int:
        """The HTTP status for a complete body. Large ones one after the other: they are in memory while stored."""
        async with self._one_large if body.large else contextlib.nullcontext():
            if problem := await body.json_problem(self.limits.depth, self.limits.values):
                return await self.refuse(source, task, 422, Reason("result.not_json", f"the result {problem}"))
            return self.tell(source, task, await self._sink.accept(source, task, await body.content()))

    def tell(self, source: Address, task: Address, outcome: ResultOutcome) -> int:
        self.counts[outcome.value] += 1
        if outcome not in (ResultOutcome.STORED, ResultOutcome.SAME):
            self._warn(source, task, outcome.value)
        return _STATUS[outcome]

    async def refuse(self, source: Address, task: Address, status: int, reason: Reason) -> int:
        self.counts[reason.code.removeprefix("result.")] += 1
        self._warn(source, task, reason.code, reason=reason.text)
        await self._sink.refuse(source, task, reason)
        return status

    def _warn(self, source: Address, task: Address, code: str, **more: str) -> None:
        """One line now and then for each source and kind: a container must not fill the host's log."""
        key, now = (source, code), asyncio.get_running_loop().time()
        if now < self._quiet.get(key, 0.0):
            self._unsaid[key] += 1
            return
        self._quiet[key] = now + _QUIET_SECONDS
        log.warning("result_refused", source=source, task=task, code=code, unsaid=self._unsaid.pop(key, 0), **more)

    def _proof(self, source: Address) -> str:
        return hmac.digest(self._secret, source.encode(), "sha256").hex()


class _Desk:
    """The server for one connection, which has a place."""

    def __init__(self, server: CallbackServer, place: Place) -> None:
        self._server = server
        self._place = place
        self.limits = server.limits
        self.folder = server.folder

    def recognise(self, method: str, target: str) -> tuple[Address, Address]:
        found = self._server.recognise(target)
        if found is None:
            self.failed("bad_token")
            raise Refused(404)
        if method != "POST":
            raise Refused(405)
        if not self._server.show(self._place, found[0]):
            self.failed("too_many")
            raise Refused(503)
        return found

    async def foresee(self, source: Address, task: Address, size: int | None) -> None:
        if size is not None and size <= IN_MEMORY:
            return
        if outcome := await self._server.foresee(source, task):
            raise Refused(self._server.tell(source, task, outcome))
        if size is not None and size > self.limits.body:
            raise await self.too_large(source, task)

    async def judge(self, source: Address, task: Address, body: Body) -> int:
        return await self._server.judge(source, task, body)

    async def too_large(self, source: Address, task: Address) -> Refused:
        reason = Reason("result.too_large", f"the result has more than {self.limits.body} bytes")
        return Refused(await self._server.refuse(source, task, 413, reason))

    def failed(self, kind: str, error: Exception | None = None) -> None:
        self._server.counts[kind] += 1
        if error is not None:
            log.error("result_not_stored", error=repr(error))
