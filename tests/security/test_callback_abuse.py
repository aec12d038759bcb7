"""What containers may do to the callback: by the thousand, slowly, and too much at once. True sink, true journal."""

import asyncio
import json
import os
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ogpu_provider.domain.task import TaskState
from ogpu_provider.domain.units import Address
from ogpu_provider.runtime.callback.limits import CallbackLimits
from tests.posting import Office, address, chunked, drip, office, request, send
from tests.sizes import size

pytestmark = pytest.mark.timeout(600)
OURS, THEIRS = address(0xA), address(0xB)
LIMIT = 100_000
AT_ONCE = 32


@dataclass(slots=True)
class Plan:
    """What is sent, each with the statuses that are right for it, and where the statuses of a true result are noted."""

    requests: list[tuple[bytes, tuple[int, ...], set[int]]] = field(default_factory=list)
    results: dict[Address, dict[bytes, set[int]]] = field(default_factory=dict)

    def add(self, data: bytes, *right: int, noted: set[int] | None = None) -> None:
        self.requests.append((data, right, set() if noted is None else noted))


def bodies(rng: random.Random) -> Iterator[bytes]:
    while True:
        yield json.dumps({"result": rng.random(), "pad": "x" * rng.choice((0, 10, 20_000))}).encode()


def forged(office: Office, rng: random.Random, task: Address, body: bytes) -> bytes:
    good = office.path(OURS, task)
    proof = good[44:108]
    other = office.path(THEIRS, task)[44:108]
    path = rng.choice(
        (
            good.replace(proof, rng.randbytes(32).hex()),
            good.replace(proof, other),
            good.replace(proof, proof[:-1]),
            good.replace(proof, proof.upper()),
            good.replace(OURS, THEIRS),
            good[:-1],
            f"/{task}",
            f"/x/..{good}",
            f"/{good}",
            good.replace("-", "%2D"),
        )
    )
    return request(path, body)


HOPELESS = (
    b"",
    b"{",
    b"NaN",
    b"\xff\xfe",
    b'{"a": 1} x',
    b"[" * 200 + b"]" * 200,
    b"[" + b"{}," * 30_000 + b"1]",
    b'"' + b"x" * LIMIT + b'"',
)


def plan(
    office: Office, rng: random.Random, count: int, waiting: list[Address], late: list[Address], spoilt: list[Address]
) -> Plan:
    """Each waiting task gets two different bodies, each of them several times; all else must come to nothing."""
    made, sources = Plan(), bodies(rng)
    for task in waiting:
        made.results[task] = {next(sources): set(), next(sources): set()}
    strangers = [address(0xF000 + n) for n in range(50)]
    for n in range(count):
        body, task = next(sources), rng.choice(waiting)
        match n % 8:
            case 0:
                made.add(forged(office, rng, task, body), 404)
            case 1:
                made.add(request(office.path(THEIRS, task), body), 404)  # a good token of somebody else's
            case 2:
                made.add(request(office.path(OURS, rng.choice(strangers)), body), 404)
            case 3:
                made.add(request(office.path(OURS, rng.choice(late)), body), 404)
            case 4:
                hopeless = rng.choice(HOPELESS)
                to = office.path(OURS, rng.choice(spoilt))
                made.add(chunked(to, [hopeless]) if hopeless and n % 3 else request(to, hopeless), 404, 413, 422)
            case 5:
                path = office.path(OURS, task)
                made.add(request(path, body, method=rng.choice(("GET", "PUT", "DELETE"))), 405)
            case _:
                task = waiting[n // 8 % len(waiting)]  # each of them, however few are sent
                body, noted = rng.choice(list(made.results[task].items()))
                path = office.path(OURS, task)
                data = request(path, body) if n % 16 > 7 else chunked(path, [body[:7], body[7:]])
                made.add(data, 200, 409, noted=noted)
    return made


async def at_once(jobs: list[Callable[[], Awaitable[None]]]) -> None:
    waiting = iter(jobs)

    async def worker() -> None:
        for job in waiting:
            await job()

    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))


def job(
    port: int, data: bytes, right: tuple[int, ...], noted: set[int], answers: Counter[int]
) -> Callable[[], Awaitable[None]]:
    async def post() -> None:
        status = await send(port, data)
        assert status in right, (status, right, data[:200])
        answers[status] += 1
        noted.add(status)

    return post


async def test_of_ten_thousand_callbacks_only_first_results_are_kept(tmp_path: Path) -> None:
    rng = random.Random(5)
    limits = CallbackLimits(body=LIMIT, values=20_000, per_peer=AT_ONCE, per_source=AT_ONCE)
    answers: Counter[int] = Counter()
    async with office(tmp_path, limits) as here:
        waiting = await here.rows(OURS, TaskState.EXECUTING, [address(0x1000 + n) for n in range(40)])
        late = await here.rows(OURS, TaskState.EXPIRED, [address(0x2000 + n) for n in range(20)])
        spoilt = await here.rows(OURS, TaskState.EXECUTING, [address(0x3000 + n) for n in range(20)])
        made = plan(here, rng, size("callbacks"), waiting, late, spoilt)
        await at_once([job(here.server.port, *each, answers) for each in made.requests])
        for task, results in made.results.items():
            kept = await here.journal.result(task)
            for body, statuses in results.items():
                assert statuses <= ({200} if body == kept else {409}), "the same again is good, another one is not"
            assert kept in results
        for task in (*late, *spoilt):
            assert await here.journal.result(task) is None
        counts = here.server.counts
    assert answers[200] == counts["stored"] + counts["same"]
    assert counts["stored"] == len(waiting)
    assert min(answers[code] for code in (200, 404, 405, 409, 422)) > 0
    assert min(counts[kind] for kind in ("bad_token", "unknown", "late", "not_json", "too_large", "conflict")) > 0


async def test_five_hundred_that_drip_are_cut_and_keep_nobody_out(tmp_path: Path) -> None:
    """Half of them drip a header, half a body behind a good token. With the limits of the daemon."""
    limits = CallbackLimits()
    async with office(tmp_path) as here:
        [victim] = await here.rows(THEIRS, TaskState.EXECUTING, [address(0x4000)])
        healthy = await here.rows(OURS, TaskState.EXECUTING, [address(0x5000 + n) for n in range(60)])
        path = here.path(THEIRS, victim)
        header = f"POST {path} HTTP/1.1\r\nHost: h\r\n".encode()
        slow = [
            drip(here.server.port, *parts, peer=f"127.0.0.{2 + n % 20}")
            for n in range(250)
            for parts in ((b"POST ", path.encode()), (header + b"Content-Length: 5000\r\n\r\n", b'"' + b"x" * 4998))
        ]
        dripping = asyncio.gather(*slow)
        posted = [await send(here.server.port, request(here.path(OURS, task), b"1")) for task in healthy[:30]]
        async with asyncio.timeout(90):
            ends = await dripping
        posted += [await send(here.server.port, request(here.path(OURS, task), b"1")) for task in healthy[30:]]
        assert posted == [200] * 60
        assert len(ends) == 500
        assert {status for status, _ in ends} <= {0, 408, 503}
        counts = here.server.counts
        assert counts["stored"] == 60
        assert counts["too_slow"] + counts["put_out"] + counts["too_many"] >= 500
        assert counts["too_slow"] >= limits.per_source
        assert counts["too_many"] > 0, "a source has a number of places for its bodies, and no more"
        assert await here.journal.result(victim) is None
    assert 2 * limits.window < 15.0


def memory() -> int:
    """Resident bytes of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("framing", ["Content-Length: {}", "Transfer-Encoding: chunked"])
async def test_two_hundred_mebibytes_are_refused_in_constant_memory(tmp_path: Path, framing: str) -> None:
    total, piece = 200 << 20, b"x" * 65_536
    async with office(tmp_path) as here:
        [task] = await here.rows(OURS, TaskState.EXECUTING, [address(0x6000)])
        reader, writer = await asyncio.open_connection("127.0.0.1", here.server.port)
        header = f"POST {here.path(OURS, task)} HTTP/1.1\r\nHost: h\r\n{framing.format(total)}\r\n\r\n"
        writer.write(header.encode())
        before = peak = memory()
        wire = b"%x\r\n%s\r\n" % (len(piece), piece) if "chunked" in framing else piece
        answering = asyncio.ensure_future(reader.readuntil(b"\r\n"))
        sent = 0
        try:
            while sent < total and not reader.at_eof():
                writer.write(wire)
                await writer.drain()
                sent += len(piece)
                peak = max(peak, memory())
                await asyncio.sleep(0)
        except ConnectionError:
            pass
        assert (await answering).startswith(b"HTTP/1.1 413 ")
        writer.close()
        assert "chunked" not in framing or sent > CallbackLimits().body, "it was taken up to the limit"
        row = await here.journal.task(task)
        assert row is not None
        assert (row.state, row.code) == (TaskState.FAILED, "result.too_large")
        assert await here.journal.result(task) is None
    assert peak - before <= 20 << 20
    assert list(tmp_path.glob("tmp*")) == []
