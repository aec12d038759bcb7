"""The callback server over real sockets on loopback, with a sink that says what a test wants."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from ogpu_provider.domain.errors import ConfigError
from ogpu_provider.domain.task import ResultOutcome
from ogpu_provider.domain.units import Address
from ogpu_provider.domain.verdict import Reason
from ogpu_provider.hosting import remembered_port
from ogpu_provider.runtime.callback.limits import CallbackLimits
from ogpu_provider.runtime.callback.server import CallbackServer

SOURCE, OTHER = Address("0x" + "5A" * 20), Address("0x" + "5B" * 20)
TASK = Address("0x" + "7A" * 20)
SECRET = b"s" * 32


@dataclass
class Sink:
    outcome: ResultOutcome | Exception = ResultOutcome.STORED
    accepted: list[tuple[Address, Address, bytes]] = field(default_factory=list)
    refused: list[tuple[Address, Address, str]] = field(default_factory=list)
    gate: asyncio.Event | None = None
    foreseen: ResultOutcome | None = None

    async def foresee(self, source: Address, task: Address) -> ResultOutcome | None:
        return self.foreseen

    async def accept(self, source: Address, task: Address, body: bytes) -> ResultOutcome:
        if self.gate:
            await self.gate.wait()
        if isinstance(self.outcome, Exception):
            raise self.outcome
        self.accepted.append((source, task, body))
        return self.outcome

    async def refuse(self, source: Address, task: Address, reason: Reason) -> None:
        self.refused.append((source, task, reason.code))


@asynccontextmanager
async def serving(
    sink: Sink, limits: CallbackLimits | None = None
) -> AsyncIterator[tuple[CallbackServer, httpx.AsyncClient]]:
    async with (
        CallbackServer("127.0.0.1", 0, SECRET, sink, limits) as server,
        httpx.AsyncClient(trust_env=False, timeout=60) as client,
    ):
        yield server, client


async def test_a_result_is_stored_before_it_is_answered() -> None:
    sink = Sink(gate=asyncio.Event())
    async with serving(sink) as (server, client):
        posting = asyncio.create_task(client.post(f"{server.url(SOURCE)}/{TASK}", json={"result": 42}))
        await asyncio.sleep(0.1)
        assert not posting.done()
        assert sink.gate is not None
        sink.gate.set()
        assert (await posting).status_code == 200
    assert [(source, task, json.loads(body)) for source, task, body in sink.accepted] == [
        (SOURCE, TASK, {"result": 42})
    ]
    assert server.counts == {"stored": 1}


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (ResultOutcome.STORED, 200),
        (ResultOutcome.SAME, 200),
        (ResultOutcome.CONFLICT, 409),
        (ResultOutcome.LATE, 404),
        (ResultOutcome.UNKNOWN, 404),
        (RuntimeError("disk full"), 503),
    ],
)
async def test_the_answer_says_what_became_of_it(outcome: ResultOutcome | Exception, status: int) -> None:
    async with serving(Sink(outcome)) as (server, client):
        assert (await client.post(f"{server.url(SOURCE)}/{TASK}", json={})).status_code == status


async def test_the_url_is_the_same_after_a_restart() -> None:
    async with serving(Sink()) as (server, _):
        url = server.url(SOURCE)
        port = server.port
    sink = Sink()
    async with CallbackServer("127.0.0.1", port, SECRET, sink), httpx.AsyncClient(trust_env=False) as client:
        assert (await client.post(f"{url}/{TASK}", json=1)).status_code == 200


async def test_only_the_source_of_a_token_is_believed() -> None:
    sink = Sink()
    async with serving(sink) as (server, client):
        good = server.url(SOURCE)
        forged = good.replace(SOURCE, OTHER)
        base = good.rpartition("/")[0]
        for url in (
            f"{forged}/{TASK}",
            f"{base}/x/{TASK}",
            f"{base}/{TASK}",
            good,
            f"{good}/../{TASK}",
            f"{good}/0x12",
        ):
            assert (await client.post(url, json=1)).status_code == 404
        assert (await client.get(f"{good}/{TASK}")).status_code == 405
    assert sink.accepted == []
    assert server.counts["bad_token"] == 6


@pytest.mark.parametrize(
    "body", [b"", b" ", b"{", b"NaN", b'{"a": Infinity}', b"\xff", b"[" * 500 + b"]" * 500, b"[" * 99999, b"1 2"]
)
async def test_what_is_no_json_is_refused_and_ends_the_task(body: bytes) -> None:
    sink = Sink()
    async with serving(sink) as (server, client):
        assert (await client.post(f"{server.url(SOURCE)}/{TASK}", content=body)).status_code == 422
    assert (sink.accepted, sink.refused) == ([], [(SOURCE, TASK, "result.not_json")])


async def test_a_body_at_the_limit_passes_and_one_byte_more_does_not() -> None:
    sink = Sink()
    limits = CallbackLimits(body=300_000)
    async with serving(sink, limits) as (server, client):
        url = f"{server.url(SOURCE)}/{TASK}"
        assert (await client.post(url, content=b'"' + b"x" * 299_998 + b'"')).status_code == 200
        assert (await client.post(url, content=b'"' + b"x" * 299_999 + b'"')).status_code == 413
    assert sink.refused == [(SOURCE, TASK, "result.too_large")]


async def test_a_chunked_body_is_counted_as_it_comes() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 1000

    sink = Sink()
    async with serving(sink, CallbackLimits(body=50_000)) as (server, client):
        response = await client.post(f"{server.url(SOURCE)}/{TASK}", content=chunks())
    assert response.status_code == 413
    assert sink.refused == [(SOURCE, TASK, "result.too_large")]


async def talk(server: CallbackServer, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(data)
    try:
        async with asyncio.timeout(60):
            return await reader.read()
    finally:
        writer.close()


async def test_a_request_that_never_ends_is_cut_off() -> None:
    sink = Sink()
    async with serving(sink, CallbackLimits(window=0.2)) as (server, _):
        path = server.url(SOURCE).rpartition("/")[2]
        header = f"POST /{path}/{TASK} HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n".encode()
        for start in (b"POS", header, header + b"\r\n{"):
            answer = await talk(server, start)
            assert b" 408 " in answer or answer == b""
    assert server.counts["too_slow"] == 3
    assert sink.accepted == []


async def test_the_oldest_of_a_peer_makes_room_for_its_next() -> None:
    sink = Sink()
    async with serving(sink, CallbackLimits(per_peer=2, drain=0.1)) as (server, client):
        held = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(2)]
        await asyncio.sleep(0.05)
        assert (await client.post(f"{server.url(SOURCE)}/{TASK}", json=1)).status_code == 200
        with suppress(ConnectionError):
            assert await held[0][0].read() == b""
        assert server.counts == {"put_out": 1, "stored": 1, "broken": 1}
        for _, writer in held:
            writer.close()


async def test_a_source_has_a_number_of_places_for_its_bodies_and_others_have_theirs() -> None:
    async with serving(Sink(), CallbackLimits(per_source=2, drain=0.1)) as (server, client):
        path = server.url(SOURCE).rpartition("/")[2]
        begun = f"POST /{path}/{TASK} HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n{{".encode()
        held = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(2)]
        for _, writer in held:
            writer.write(begun)
        await asyncio.sleep(0.1)
        assert (await client.post(f"{server.url(SOURCE)}/{TASK}", json=1)).status_code == 503
        assert (await client.post(f"{server.url(OTHER)}/{TASK}", json=1)).status_code == 200
        for _, writer in held:
            writer.close()
        await asyncio.sleep(0.1)
        assert (await client.post(f"{server.url(SOURCE)}/{TASK}", json=1)).status_code == 200


@pytest.mark.parametrize(("outcome", "status"), [(ResultOutcome.UNKNOWN, 404), (ResultOutcome.LATE, 404)])
async def test_a_large_body_that_nobody_waits_for_is_not_received(outcome: ResultOutcome, status: int) -> None:
    sink = Sink(foreseen=outcome)
    async with serving(sink) as (server, _):
        path = server.url(SOURCE).rpartition("/")[2]
        for framing in ("Content-Length: 9000000", "Transfer-Encoding: chunked"):
            answer = await talk(server, f"POST /{path}/{TASK} HTTP/1.1\r\nHost: h\r\n{framing}\r\n\r\n".encode())
            assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert sink.accepted == []
    assert server.counts == {outcome.value: 2}


async def test_headers_have_a_limit() -> None:
    async with serving(Sink()) as (server, _):
        answer = await talk(server, b"POST / HTTP/1.1\r\nX: " + b"x" * 100_000)
        assert answer.startswith(b"HTTP/1.1 4") or answer == b""


async def test_closing_lets_an_open_request_finish() -> None:
    sink = Sink(gate=asyncio.Event())
    async with httpx.AsyncClient(trust_env=False) as client:
        async with CallbackServer("127.0.0.1", 0, SECRET, sink) as server:
            posting = asyncio.create_task(client.post(f"{server.url(SOURCE)}/{TASK}", json=1))
            await asyncio.sleep(0.1)
            assert sink.gate is not None
            asyncio.get_running_loop().call_later(0.1, sink.gate.set)
        assert (await posting).status_code == 200


async def test_an_address_that_is_not_this_host_s_is_told_as_that(tmp_path: Path) -> None:
    """As the bridge of an engine without root."""
    elsewhere = "192.0.2.1"
    with pytest.raises(ConfigError) as caught:
        async with CallbackServer(elsewhere, 0, SECRET, Sink(), CallbackLimits()):
            raise AssertionError("it listens")
    assert (caught.value.code, elsewhere in str(caught.value)) == ("config.callback_host", True)
    with pytest.raises(ConfigError) as caught:
        remembered_port(tmp_path / "callback.port", elsewhere)
    assert caught.value.code == "config.callback_host"
