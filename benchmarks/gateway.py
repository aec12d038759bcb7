"""The Tasks API under load: python -m benchmarks.gateway [--seconds 60] [--reads 300] [--submits 50]

A local network with a block a second, a real gateway process that publishes what it takes, and an open load from a
process of its own: each request is sent at its time, however long the others take, and measured from that time.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx

from tests.integration.gateway.world import World, running

WAIT_S = 10.0
USERS = 8
BLOCK_GAS = 120_000_000
"""The node's own 30 million are 20 publications a block: a chain that takes fewer than are asked for falls behind."""
LOOKS = 6
"""Memory is read so often while the load runs, and once before and after it."""


class Connections:
    """Keep-alive connections of HTTP/1.1, as many as are busy at once."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(self, request: bytes) -> int:
        """The answer's status; its body is read to the end."""
        while self._idle and self._idle[-1][0].at_eof():  # the server ends one that idles
            self._idle.pop()[1].close()
        reader, writer = self._idle.pop() if self._idle else await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
        await reader.readexactly(int(fields[b"content-length"]))
        self._idle.append((reader, writer))
        return int(head[9:12])

    def close(self) -> None:
        for _, writer in self._idle:
            writer.close()


class Load:
    """`rate` requests a second of one kind."""

    def __init__(self, name: str, rate: int, make: Callable[[int], bytes]) -> None:
        self.name = name
        self.rate = rate
        self._make = make
        self._times: list[float] = []
        self._answers: Counter[str] = Counter()

    async def run(self, connections: Connections, seconds: float) -> None:
        started, asked = time.monotonic(), []
        for number in range(int(self.rate * seconds)):
            at = started + number / self.rate
            await asyncio.sleep(max(0.0, at - time.monotonic()))
            asked.append(asyncio.create_task(self._one(connections, number, at)))
        await asyncio.gather(*asked)

    async def _one(self, connections: Connections, number: int, at: float) -> None:
        try:
            async with asyncio.timeout(WAIT_S):
                self._answers[str(await connections.ask(self._make(number)))] += 1
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            self._answers[type(error).__name__] += 1
        self._times.append(time.monotonic() - at)

    def figures(self) -> dict[str, Any]:
        cuts = statistics.quantiles(self._times, n=100)
        return {
            "rate": self.rate,
            "answers": dict(self._answers),
            "p50_ms": round(cuts[49] * 1000, 1),
            "p99_ms": round(cuts[98] * 1000, 1),
            "worst_ms": round(max(self._times) * 1000, 1),
        }


async def drive(
    port: int, users: Sequence[tuple[str, str]], seconds: float, reads: int, submits: int
) -> dict[str, Any]:
    """What the load's own process does. `users` are keys, each with a task that is done; they ask in turn."""
    heads = [f"Host: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n" for token, _ in users]
    places = [
        (f"/api/tasks/{task}", "/api/tasks?limit=20", f"/api/tasks/{task}/results", "/api/models") for _, task in users
    ]
    body = json.dumps({"model_id": "multiply", "input_data": {"a": 6, "b": 7}, "compute_requirements": {}})

    def read(number: int) -> bytes:
        user = number % len(users)
        return f"GET {places[user][number // len(users) % 4]} HTTP/1.1\r\n{heads[user]}\r\n".encode()

    def submit(number: int) -> bytes:
        terms = f"{heads[number % len(users)]}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        return f"POST /api/tasks HTTP/1.1\r\n{terms}\r\n{body}".encode()

    connections = Connections(port)
    loads = [Load("reads", reads, read), Load("submits", submits, submit)]
    await asyncio.gather(*(one.run(connections, seconds) for one in loads if one.rate))
    connections.close()
    return {one.name: one.figures() for one in loads if one.rate}


async def measure(folder: Path, seconds: float, reads: int, submits: int) -> dict[str, Any]:
    async with running(folder, coins=5000) as world:
        await world.rpc("evm_setBlockGasLimit", hex(BLOCK_GAS))
        users = [await _user(world, number) for number in range(USERS)]
        halves = _halves(world)
        memory = {name: [_memory(pid)] for name, pid in halves.items()}
        worked = {name: _cpu_s(pid) for name, pid in halves.items()}
        words = [str(httpx.URL(world.base).port), json.dumps(users), str(seconds), str(reads), str(submits)]
        driver = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.gateway", "--drive", *words, stdout=asyncio.subprocess.PIPE
        )
        ended = asyncio.create_task(driver.communicate())
        while not (await asyncio.wait([ended], timeout=seconds / LOOKS))[0]:
            for name, pid in halves.items():
                memory[name].append(_memory(pid))
        out, _ = await ended
        cores = {name: round((_cpu_s(pid) - worked[name]) / seconds, 2) for name, pid in halves.items()}
        figures: dict[str, Any] = json.loads(out)
        left = await _published(world, users, seconds)
        for name, pid in halves.items():
            memory[name].append(_memory(pid))
            left |= {f"{name}_cpu_s": round(_cpu_s(pid) - worked[name], 1)}
        return figures | {"memory_mib": memory, "cores": cores, "published": left}


def _halves(world: World) -> dict[str, int]:
    """The two processes of the gateway."""
    assert world.process is not None
    publishing = world.process.pid
    children = Path(f"/proc/{publishing}/task/{publishing}/children").read_text().split()
    return {"answering": int(children[0]), "publishing": publishing}


async def _user(world: World, number: int) -> tuple[str, str]:
    """A key, and a task of its that is done."""
    http, made = await world.key(f"user {number}", "--tier", "load")
    async with http:
        kept, world.http = world.http, http
        try:
            task_id = (await world.create()).json()["task_id"]
            await world.answer(await world.published(task_id), [{"n": each} for each in range(20)])
            await world.reaches(task_id, "COMPLETED")
        finally:
            world.http = kept
    return made["key"], task_id


async def _published(world: World, users: Sequence[tuple[str, str]], seconds: float) -> dict[str, Any]:
    """How long the chain takes for the rest, at most twice as long as the load took."""
    started, left = time.monotonic(), -1
    while left and time.monotonic() < started + 2 * seconds:
        await asyncio.sleep(0.5)
        left = 0
        for key, _ in users:
            header = {"Authorization": f"Bearer {key}"}
            terms: dict[str, str | int] = {"limit": 100, "status": "CREATED"}
            shown = (await world.http.get("/api/tasks", params=terms, headers=header)).json()
            left += sum(one["chain"]["task"] is None for one in shown["tasks"])
    return {"all": left == 0, "seconds_behind": round(time.monotonic() - started, 1)}


def _memory(pid: int) -> float:
    """Resident memory in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return round(int(status.split("VmRSS:")[1].split()[0]) / 1024, 1)


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--reads", type=int, default=300)
    parser.add_argument("--submits", type=int, default=50)
    parser.add_argument("--drive", nargs=5, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.drive:
        port, users, seconds, reads, submits = chosen.drive
        print(json.dumps(asyncio.run(drive(int(port), json.loads(users), float(seconds), int(reads), int(submits)))))
        return
    with tempfile.TemporaryDirectory(prefix="ogpu-gateway-") as folder:
        found = asyncio.run(measure(Path(folder), chosen.seconds, chosen.reads, chosen.submits))
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "load": round(os.getloadavg()[0], 1)}
    print(json.dumps({"seconds": chosen.seconds, **found, "machine": machine}, indent=2))


if __name__ == "__main__":
    main()
