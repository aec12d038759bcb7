"""A callback server over a true journal, tasks that await results there, and senders of any bytes."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from ogpu_provider.domain.resources import Host
from ogpu_provider.domain.task import Task, TaskState
from ogpu_provider.domain.units import Address
from ogpu_provider.pipeline.conductor import Conductor
from ogpu_provider.pipeline.ports import Ports
from ogpu_provider.pipeline.results import ResultSink
from ogpu_provider.runtime.callback.limits import CallbackLimits
from ogpu_provider.runtime.callback.server import CallbackServer
from ogpu_provider.scheduler.rules import AdmissionPolicy
from ogpu_provider.scheduler.scheduler import HostScheduler
from ogpu_provider.store.sqlite import SqliteStore
from tests.fakes.chain import CHAIN_ID, US
from tests.unit.pipeline.stage import Outside, WokenSender

SECRET = b"s" * 32
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")


def address(number: int) -> Address:
    return Address(f"0x{number:040x}")


@dataclass(frozen=True, slots=True)
class Office:
    server: CallbackServer
    journal: SqliteStore

    async def rows(self, source: Address, state: TaskState, tasks: Iterable[Address]) -> list[Address]:
        """Tasks of a source, dispatched once, in this state."""
        made = [Task(task, source, state, 1, 1.0, dispatches=1, deadline=2e9) for task in tasks]
        await self.journal.insert(made)
        return [task.address for task in made]

    def path(self, source: Address, task: Address) -> str:
        return f"/{self.server.url(source).rpartition('/')[2]}/{task}"


@asynccontextmanager
async def office(folder: Path, limits: CallbackLimits | None = None, port: int = 0) -> AsyncIterator[Office]:
    """The daemon's own sink and journal behind the server; the path does not go on from there."""
    store = await SqliteStore.open(folder / "provider.db", chain_id=CHAIN_ID, provider=US)
    outside = Outside()
    ports = Ports(
        journal=store,
        chain=outside.chain,
        sender=WokenSender(),
        content=outside.content,
        runtime=outside.runtime,
        scheduler=HostScheduler(Host(1), AdmissionPolicy()),
        clock=outside.clock,
        boot="boot",
        started_at=outside.clock.now(),
    )
    sink = ResultSink(ports, Conductor(ports))
    async with CallbackServer("127.0.0.1", port, SECRET, sink, limits, folder=folder) as server:
        yield Office(server, store)
    await store.close()


def request(path: str, body: bytes, *headers: str, method: str = "POST") -> bytes:
    head = [f"{method} {path} HTTP/1.1", "Host: h", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(head).encode() + body


def chunked(path: str, pieces: Sequence[bytes]) -> bytes:
    body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return f"POST {path} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + body + b"0\r\n\r\n"


async def send(port: int, data: bytes, peer: str = "127.0.0.1") -> int:
    """The status of the answer to these bytes; 0 if the connection ended without one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(peer, 0))
    try:
        with contextlib.suppress(ConnectionError):
            writer.write(data)
            await writer.drain()
        answer = b""
        with contextlib.suppress(ConnectionError):
            answer = await reader.read()
        match = _STATUS.match(answer)
        return int(match[1]) if match else 0
    finally:
        writer.close()


async def drip(port: int, start: bytes, rest: bytes, peer: str) -> tuple[int, float]:
    """Send `start`, then a byte of `rest` every half second until the server ends it: its status, and the seconds."""
    loop = asyncio.get_running_loop()
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(peer, 0))
    began = loop.time()
    writer.write(start)
    answering = asyncio.ensure_future(reader.read())
    try:
        for at in range(len(rest)):
            if answering.done():
                break
            with contextlib.suppress(ConnectionError):
                writer.write(rest[at : at + 1])
            await asyncio.wait([answering], timeout=0.5)
        try:
            match = _STATUS.match(await answering)
        except ConnectionError:
            match = None
        return (int(match[1]) if match else 0), loop.time() - began
    finally:
        answering.cancel()
        writer.close()
