"""A receiver of alerts: a real HTTP server on this host that answers as a test wants."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

HANGS = 0
"""In place of a status: the request is read, and nothing is ever answered."""


@dataclass
class Inbox:
    """`answers`: the statuses of the first requests; then `usual`. `refused`: bodies that were not taken."""

    port: int = 0
    answers: list[int] = field(default_factory=list)
    usual: int = 200
    taken: list[dict[str, Any]] = field(default_factory=list)
    refused: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    came: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks/s3cr3t-t0ken?also=pa55phrase"

    async def until_refused(self, many: int) -> None:
        async with asyncio.timeout(60):
            while len(self.refused) < many:
                self.came.clear()
                await self.came.wait()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = next(
                int(line.split(":")[1]) for line in head.split("\r\n") if line.lower().startswith("content-l")
            )
            body = json.loads(await reader.readexactly(length))
            self.paths.append(head.split(" ")[1])
            status = self.answers.pop(0) if self.answers else self.usual
            (self.taken if 200 <= status < 300 else self.refused).append(body)
            self.came.set()
            if status == HANGS:
                await asyncio.sleep(3600)
            writer.write(f"HTTP/1.1 {status} Said\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def inbox(*answers: int, usual: int = 200) -> AsyncIterator[Inbox]:
    made = Inbox(answers=list(answers), usual=usual)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()


@contextmanager
def inbox_beside(*answers: int) -> Iterator[Inbox]:
    """In a thread of its own, for a command that has a loop of its own."""
    found: list[Inbox] = []
    ready, loop, over = threading.Event(), asyncio.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        async with inbox(*answers) as made:
            found.append(made)
            ready.set()
            await over.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    assert ready.wait(60)
    try:
        yield found[0]
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(60)
        loop.close()
