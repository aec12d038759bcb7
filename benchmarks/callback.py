"""How the callback holds while it is abused: python -m benchmarks.callback

A server with the true sink and journal, in a process of its own. From another one: healthy results alone, then the same
beside 500 connections of a third one that drip and come again when they are cut; 10,000 forged, duplicate, late and
hopeless requests; a body of 200 MiB.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import structlog

from ogpu_provider.domain.task import TaskState
from tests.posting import Office, address, drip, office, request, send
from tests.security.test_callback_abuse import OURS, THEIRS, plan

HEALTHY_PER_S = 20


async def serve(folder: Path, tasks: int) -> None:
    """Print the paths of `tasks` results, then serve until killed."""
    async with office(folder) as here:
        rows = await here.rows(OURS, TaskState.EXECUTING, [address(0x5000 + n) for n in range(tasks)])
        [victim] = await here.rows(THEIRS, TaskState.EXECUTING, [address(0x4000)])
        waiting = await here.rows(OURS, TaskState.EXECUTING, [address(0x1000 + n) for n in range(40)])
        late = await here.rows(OURS, TaskState.EXPIRED, [address(0x2000 + n) for n in range(20)])
        spoilt = await here.rows(OURS, TaskState.EXECUTING, [address(0x3000 + n) for n in range(20)])
        abuse = [data.hex() for data, _, _ in plan(here, random.Random(5), 10_000, waiting, late, spoilt).requests]
        (folder / "abuse.json").write_text(json.dumps(abuse))
        print(json.dumps(_facts(here, [here.path(OURS, row) for row in rows], here.path(THEIRS, victim))), flush=True)
        await asyncio.Event().wait()


def _facts(here: Office, paths: Sequence[str], victim: str) -> dict[str, object]:
    return {"port": here.server.port, "paths": paths, "victim": victim}


class Load:
    def __init__(self, port: int, paths: Sequence[str], pid: int) -> None:
        self._port = port
        self._paths = iter(paths)
        self._pid = pid

    async def healthy(self, seconds: float) -> dict[str, object]:
        """Results at a steady rate, however long each takes; and the share of a core that the server needed."""
        began, used = time.monotonic(), self._cpu()
        end, posting = time.monotonic() + seconds, []
        while time.monotonic() < end:
            posting.append(asyncio.create_task(self._post(next(self._paths))))
            await asyncio.sleep(1 / HEALTHY_PER_S)
        times = await asyncio.gather(*posting)
        share = (self._cpu() - used) / (time.monotonic() - began)
        cuts = statistics.quantiles(times, n=100)
        return {
            "results": len(times),
            "server_core_share": round(share, 2),
            "p50_ms": _ms(cuts[49]),
            "p99_ms": _ms(cuts[98]),
            "worst_ms": _ms(max(times)),
        }

    async def _post(self, path: str) -> float:
        began = time.monotonic()
        status = await send(self._port, request(path, b'{"result": 1}'))
        assert status == 200, status
        return time.monotonic() - began

    async def abuse(self, requests: Sequence[bytes], at_once: int = 32) -> dict[str, object]:
        began, used, left = time.monotonic(), self._cpu(), iter(requests)

        async def worker() -> None:
            for data in left:
                await send(self._port, data)

        await asyncio.gather(*(worker() for _ in range(at_once)))
        cpu = (self._cpu() - used) * 1000 / len(requests)
        return {"per_second": round(len(requests) / (time.monotonic() - began)), "server_cpu_ms_each": round(cpu, 2)}

    async def large(self, path: str, total: int = 200 << 20) -> dict[str, object]:
        before = self._memory()
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(f"POST {path} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        answering = asyncio.ensure_future(reader.readuntil(b"\r\n"))
        piece, peak, sent = b"10000\r\n" + b"x" * 65_536 + b"\r\n", before, 0
        try:
            while sent < total and not answering.done():
                writer.write(piece)
                await writer.drain()
                sent += 65_536
                peak = max(peak, self._memory())
        except ConnectionError:
            pass
        answer = (await answering).decode().strip()
        return {"answer": answer, "grown_mib": round((peak - before) / (1 << 20), 1)}

    def _memory(self) -> int:
        pages = int(Path(f"/proc/{self._pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def _cpu(self) -> float:
        fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def dripping(port: int, victim: str, seconds: float, count: int = 500) -> dict[str, object]:
    """So many at any time, half of them in their header, half in a body."""
    header = f"POST {victim} HTTP/1.1\r\nHost: h\r\n".encode()
    kinds = ((b"POST ", victim.encode()), (header + b"Content-Length: 5000\r\n\r\n", b'"' + b"x" * 4998))
    end, lasted = time.monotonic() + seconds, []

    async def one(number: int) -> None:
        await asyncio.sleep(number / count)
        while time.monotonic() < end:
            lasted.append((await drip(port, *kinds[number % 2], peer=f"127.0.0.{2 + number % 20}"))[1])
            await asyncio.sleep(1.0)  # one that is cut at once, for want of places, comes no faster than that

    await asyncio.gather(*(one(number) for number in range(count)))
    return {"at_any_time": count, "cut": len(lasted), "longest_s": round(max(lasted), 1)}


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)


async def measure(folder: Path, seconds: float) -> dict[str, object]:
    tasks = int(seconds * HEALTHY_PER_S * 2) + 10
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.callback", "--serve", str(folder), "--tasks", str(tasks)),
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 24,
    )
    try:
        assert server.stdout is not None
        facts = json.loads(await server.stdout.readline())
        load = Load(facts["port"], facts["paths"], server.pid)
        found: dict[str, object] = {"healthy_alone": await load.healthy(seconds)}
        words = ("--drip", str(facts["port"]), facts["victim"], "--seconds", str(seconds))
        drips = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.callback", *words), stdout=asyncio.subprocess.PIPE
        )
        assert drips.stdout is not None
        await drips.stdout.readline()
        found["healthy_beside_500_dripping"] = await load.healthy(seconds)
        found["dripping"] = json.loads(await drips.stdout.read())
        await drips.wait()
        abuse = [bytes.fromhex(text) for text in json.loads((folder / "abuse.json").read_text())]
        found["ten_thousand_bad"] = await load.abuse(abuse)
        found["body_of_200_mib"] = await load.large(facts["victim"])
    finally:
        server.kill()
        await server.wait()
    return {**found, "load": round(os.getloadavg()[0], 2), "cores": os.cpu_count()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=12.0, help="of healthy load, alone and beside the others")
    parser.add_argument("--drip", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--tasks", type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    if args.serve:
        asyncio.run(serve(args.serve, args.tasks))
        return
    if args.drip:
        print("begins", flush=True)
        print(json.dumps(asyncio.run(dripping(int(args.drip[0]), args.drip[1], args.seconds))))
        return
    with tempfile.TemporaryDirectory(prefix="callback-") as folder:
        print(json.dumps(asyncio.run(measure(Path(folder), args.seconds)), indent=2))


if __name__ == "__main__":
    main()
