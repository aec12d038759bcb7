"""A thousand webhooks over HTTP: a third of the answers are faults, and who tells them is killed again and again."""

import asyncio
import random
import signal
import sqlite3
import sys
import time
from asyncio import StreamReader, StreamWriter
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from ogpu_provider.domain.order import ApiKey, OrderState
from ogpu_provider.domain.webhook import DeliveryState
from tests.unit.gateway.orders import a_key, an_order, opened
from tests.waiting import until

pytestmark = pytest.mark.timeout(300)
TASKS = 500
AT_A_TIME = 250
"""Posts after which the process is killed in the middle of its work."""
MOST_FAULTS = 8
"""Of one webhook: the schedule has ten tries."""


class Receiver:
    """Verifies what it takes, as users do. Its faults: an error, a redirect, a cut, and an answer that is lost after it
    has taken what it was told."""

    def __init__(self) -> None:
        self.chance = random.Random(5)
        self.secret = ""
        self.url = ""
        self.posts = 0
        self.faults = Counter[str]()
        self.taken = Counter[str]()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
        try:
            yield
        finally:
            server.close()

    async def _answer(self, reader: StreamReader, writer: StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()[1:]
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head)}
            body = await reader.readexactly(int(headers["content-length"]))
            self._say(writer, self._taken(headers, body))
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):  # killed on its way
            pass
        finally:
            writer.close()

    def _taken(self, headers: dict[str, str], body: bytes) -> str:
        """How it answers: a status, or nothing."""
        self.posts += 1
        name, answer = headers["webhook-id"], "200 OK"
        if self.chance.random() < 0.3 and self.faults[name] < MOST_FAULTS:
            self.faults[name] += 1
            answer = self.chance.choice(("500 Sorry", "301 Moved", "cut", "lost"))
        if answer in ("200 OK", "lost"):
            told = Webhook(self.secret).verify(body, headers)
            assert told["type"] in ("task.assigned", "task.started")
            self.taken[name] += 1
        return answer

    def _say(self, writer: StreamWriter, answer: str) -> None:
        if answer not in ("cut", "lost"):
            more = f"Location: {self.url}\r\n" if answer.startswith("301") else ""
            writer.write(f"HTTP/1.1 {answer}\r\n{more}Content-Length: 0\r\nConnection: close\r\n\r\n".encode())


async def two_events_each(folder: Path, url: str) -> ApiKey:
    store = await opened(folder)
    key, _ = await a_key(store)
    for number in range(TASKS):
        order = await an_order(store, key, number, callback=url)
        order = await store.move(order, "assigned", at=1001.0, state=OrderState.ASSIGNED)
        await store.move(order, "started", at=1002.0, state=OrderState.EXECUTING)
    await store.close()
    return key


def due(folder: Path, at: float) -> int:
    with closing(sqlite3.connect(folder / "gateway.db", timeout=60)) as connection:
        sql = "SELECT count(*) FROM deliveries WHERE state = 'pending' AND next_at <= ?"
        return int(connection.execute(sql, (at,)).fetchone()[0])


def hours_pass(folder: Path) -> None:
    """What is due later is due now."""
    with closing(sqlite3.connect(folder / "gateway.db", timeout=60)) as connection, connection:
        connection.execute("UPDATE deliveries SET next_at = 0 WHERE state = 'pending'")


async def told_and_killed(folder: Path, receiver: Receiver) -> bool:
    """Tell what is due until enough was told, or nothing is due any more, then kill. Whether it was at work then."""
    words = (sys.executable, "-m", "tests.integration.gateway.courier_process", str(folder))
    process = await asyncio.create_subprocess_exec(*words)
    before = receiver.posts

    async def enough() -> bool:
        assert process.returncode is None
        return receiver.posts >= before + AT_A_TIME or due(folder, time.time()) == 0

    try:
        await until(enough, 120, "webhooks to be told", pause=0.01)
        at_work = due(folder, time.time()) > 0
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()
    return at_work


async def test_a_thousand_webhooks_with_faults_and_kills_each_arrive_and_are_verified(tmp_path: Path) -> None:
    receiver, kills = Receiver(), 0
    async with receiver.listening():
        key = await two_events_each(tmp_path, receiver.url)
        receiver.secret = key.secrets[0]
        while due(tmp_path, float("inf")):
            hours_pass(tmp_path)
            kills += await told_and_killed(tmp_path, receiver)
    store = await opened(tmp_path)
    rows = await store.deliveries(limit=5000)
    await store.close()
    assert len(rows) == 2 * TASKS
    assert {row.state for row in rows} == {DeliveryState.DELIVERED}
    assert set(receiver.taken) == {row.id for row in rows}
    assert kills >= 3
    assert sum(receiver.faults.values()) / receiver.posts == pytest.approx(0.3, abs=0.06)
