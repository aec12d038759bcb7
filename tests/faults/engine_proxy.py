"""The real engine behind a socket of the test's own, where single calls fail, hang, or succeed with the answer lost."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from urllib.parse import unquote

REAL = "/var/run/docker.sock"
_VERSION = re.compile(r"^/v1\.\d+")
_THING = re.compile(r"^/(containers|images|networks|volumes|distribution)/(?!json$|create$|prune$)(.+?)(/[a-z]+)?$")


class Fault(StrEnum):
    FAILS = "fails"
    HANGS = "hangs"
    ANSWER_LOST = "answer lost"


@dataclass(slots=True)
class EngineProxy:
    """`seen`: every call as METHOD /path, with * for what it is about. `changed`: method and whole path of all that is
    no question. `armed`: the fault of the next call of that kind; `hits` counts them.
    """

    path: Path
    seen: set[str] = field(default_factory=set)
    changed: list[str] = field(default_factory=list)
    armed: tuple[str, Fault] | None = None
    hits: int = 0

    @property
    def host(self) -> str:
        return f"unix://{self.path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            await self._one(reader, writer)
        writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        body = await _body(reader, head)
        method, target = head.decode().split(" ")[:2]
        path = unquote(_VERSION.sub("", target.partition("?")[0]))
        call = call_of(method, path)
        self.seen.add(call)
        if method not in ("GET", "HEAD"):
            self.changed.append(f"{method} {path}")
        fault = None
        if self.armed is not None and self.armed[0] == call:
            fault, self.armed, self.hits = self.armed[1], None, self.hits + 1
        if fault is Fault.FAILS:
            text = b'{"message": "a fault of the test"}'
            writer.write(b"HTTP/1.1 500 X\r\nConnection: close\r\nContent-Type: application/json\r\n")
            writer.write(b"Content-Length: %d\r\n\r\n" % len(text) + text)
            await writer.drain()
        elif fault is Fault.HANGS:
            await reader.read()
        else:
            await self._forward(head, body, reader, writer, lost=fault is Fault.ANSWER_LOST and "/events" not in call)

    async def _forward(
        self, head: bytes, body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, lost: bool
    ) -> None:
        """One request a connection, so that each answer ends with it."""
        answers, questions = await asyncio.open_unix_connection(REAL)
        lines = [line for line in head.split(b"\r\n")[:-2] if not line.lower().startswith(b"connection:")]
        questions.write(b"\r\n".join([*lines, b"Connection: close", b"", b""]) + body)
        away = asyncio.create_task(reader.read())
        try:
            while True:
                chunk = asyncio.create_task(answers.read(65536))
                await asyncio.wait({chunk, *({away} if not lost else set())}, return_when=asyncio.FIRST_COMPLETED)
                if not chunk.done() or not (data := chunk.result()):
                    chunk.cancel()
                    return
                if not lost:
                    writer.write(data)
                    await writer.drain()
        finally:
            away.cancel()
            questions.close()


def call_of(method: str, path: str) -> str:
    """METHOD /path with * in place of ids and names."""
    return f"{method} " + _THING.sub(lambda match: f"/{match[1]}/*{match[3] or ''}", path)


async def _body(reader: asyncio.StreamReader, head: bytes) -> bytes:
    """As it came, chunks and all."""
    if match := re.search(rb"(?i)\r\ncontent-length: *(\d+)", head):
        return await reader.readexactly(int(match[1]))
    if not re.search(rb"(?i)\r\ntransfer-encoding: *chunked", head):
        return b""
    body = b""
    while True:
        line = await reader.readuntil(b"\r\n")
        body += line + await reader.readexactly(int(line, 16) + 2)
        if int(line, 16) == 0:
            return body


@asynccontextmanager
async def engine_proxy(directory: Path) -> AsyncIterator[EngineProxy]:
    proxy = EngineProxy(directory / "engine.sock")
    server = await asyncio.start_unix_server(proxy.serve, proxy.path)
    try:
        yield proxy
    finally:
        server.close()
