"""What gVisor costs: the same small work in a container under runc and one under runsc, on an engine of its own.

python -m benchmarks.isolation        needs root, dockerd and runsc; prints a table

Each figure is the best of many short bursts, the runtimes taking turns, so that other work counts little.
"""

import asyncio
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import docker

from tests.own_engine import missing_part
from tests.own_host import OwnHost, own_host
from tests.runtime_host import PYTHON, home_of_stdlib

ROUNDS = 3
RUNTIMES = {"runtimes": {"runsc": {"path": "/usr/bin/runsc", "runtimeArgs": ["--network=host"]}}}
WORK = """
import json, os, socket, time
def best(work, bursts=40):
    times = []
    for _ in range(bursts):
        start = time.perf_counter(); work(); times.append(time.perf_counter() - start)
    return min(times)
def compute(): sum(i * i for i in range(20000))
def stats():
    for _ in range(200): os.stat("/")
def files():
    for n in range(20):
        with open("/tmp-%d" % n, "wb") as f: f.write(b"x" * 4096)
        os.unlink("/tmp-%d" % n)
def write():
    with open("/large", "wb") as f: f.write(bytes(8 << 20))
server = socket.create_server(("127.0.0.1", 0)); port = server.getsockname()[1]
def connect():
    for _ in range(20):
        a = socket.create_connection(("127.0.0.1", port)); b = server.accept()[0]
        a.sendall(b"x" * 1000); b.recv(1000); a.close(); b.close()
def spawn():
    pid = os.fork()
    if pid == 0: os._exit(0)
    os.waitpid(pid, 0)
print(json.dumps({"compute": best(compute), "200 stats": best(stats), "20 small files": best(files),
    "write 8 MiB": best(write, 10), "20 connections": best(connect), "fork": best(spawn)}))
"""


def _ran(api: docker.APIClient, image: str, runtime: str) -> dict[str, float]:
    row = api.create_container(
        image,
        [PYTHON, "-c", WORK],
        environment={"PYTHONHOME": home_of_stdlib()},
        host_config=api.create_host_config(runtime=runtime, cap_drop=["ALL"], mem_limit=512 << 20),
    )
    api.start(row["Id"])
    ended = api.wait(row["Id"], timeout=300)
    output = api.logs(row["Id"]).decode()
    api.remove_container(row["Id"])
    if ended["StatusCode"]:
        raise RuntimeError(output)
    found: dict[str, float] = json.loads(output)
    return found


def _measured(host: OwnHost) -> dict[str, dict[str, float]]:
    api = docker.APIClient(base_url=host.own.socket, version="auto")
    best: dict[str, dict[str, float]] = {"runc": {}, "runsc": {}}
    api.pull(f"{host.registry}/source", tag="latest")
    for _ in range(ROUNDS):
        for runtime, seen in best.items():
            for name, seconds in _ran(api, f"{host.registry}/source:latest", runtime).items():
                seen[name] = min(seconds, seen.get(name, seconds))
    api.close()
    return best


async def measure() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "daemon.json"
        config.write_text(json.dumps(RUNTIMES))
        async with own_host("bench-isolation", ["--config-file", str(config)]) as host:
            return await asyncio.to_thread(_measured, host)


def main() -> None:
    if reason := missing_part("runsc"):
        raise SystemExit(reason)
    best = asyncio.run(measure())
    print(f"load {os.getloadavg()[0]:.1f}; best of {ROUNDS} rounds, milliseconds")
    print(f"{'':20} {'runc':>9} {'runsc':>9} {'ratio':>7}")
    for name, seconds in best["runc"].items():
        other = best["runsc"][name]
        print(f"{name:20} {seconds * 1000:9.3f} {other * 1000:9.3f} {other / seconds:7.1f}")


if __name__ == "__main__":
    main()
