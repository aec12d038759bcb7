"""What a container reaches: asked from inside a real one, about hosts in a network namespace of the test's own.

Only addresses with a route of their own to that namespace are asked for, so no packet takes the way to the internet.
"""

import asyncio
import json
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack

import pytest

from ogpu_provider.domain.clock import SystemClock
from ogpu_provider.domain.project import ProjectSpec
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.units import Address
from ogpu_provider.runtime.doors import free_port
from ogpu_provider.runtime.egress import rules
from ogpu_provider.runtime.egress.guard import EgressSettings, Guard, problem
from ogpu_provider.runtime.egress.rules import Endpoint, Policy
from ogpu_provider.runtime.engine import Engine
from ogpu_provider.runtime.projects import Projects
from tests.runtime_host import PYTHON, Host, images_of

pytestmark = pytest.mark.docker
SOURCE, OTHER = Address("0x" + "5A" * 20), Address("0x" + "5B" * 20)
TASK = Address("0x" + "7A" * 20)
METADATA, PRIVATE, SHARED, LAN = "169.254.169.254", "10.203.7.9", "100.64.7.9", "192.168.203.9"
PUBLIC = "203.0.113.77"
LINK = ("198.51.100.1", "198.51.100.2")
PORTS = (25, 80, 587)
SERVER = f"""
import socket, threading
def serve(port):
    s = socket.create_server(("0.0.0.0", port)); ready.release()
    while True: s.accept()[0].close()
ready = threading.Semaphore(0)
for port in {PORTS}: threading.Thread(target=serve, args=(port,)).start()
for _ in {PORTS}: ready.acquire()
print("ready", flush=True)
"""
PROBE = """
import json, socket, sys, threading
found = []
def ask(host, port):
    try: socket.create_connection((host, port), 1.5).close(); found.append(f"{host}:{port}")
    except OSError: pass
threads = [threading.Thread(target=ask, args=each) for each in json.loads(sys.argv[1])]
[t.start() for t in threads]; [t.join() for t in threads]
print(json.dumps(found))
"""


def execute(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def outside() -> Iterator[None]:
    """Hosts that listen at private, metadata and public-like addresses, and routes to exactly those."""
    if os.geteuid() != 0:
        reason = "network namespaces need root"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    name = f"ogt{os.getpid() % 10**6}"
    with ExitStack() as stack:
        execute("ip", "netns", "add", name)
        stack.callback(execute, "ip", "netns", "del", name)  # takes the link, and with it the routes
        execute("ip", "link", "add", name, "type", "veth", "peer", "name", "out", "netns", name)
        execute("ip", "addr", "add", f"{LINK[0]}/30", "dev", name)
        execute("ip", "link", "set", name, "up")
        inside = ("ip", "-n", name)
        execute(*inside, "addr", "add", f"{LINK[1]}/30", "dev", "out")
        execute(*inside, "link", "set", "out", "up")
        execute(*inside, "link", "set", "lo", "up")
        for address in (METADATA, PRIVATE, SHARED, LAN, PUBLIC):
            execute(*inside, "addr", "add", f"{address}/32", "dev", "lo")
            execute("ip", "route", "add", f"{address}/32", "via", LINK[1], "dev", name)
        server = subprocess.Popen(
            ["ip", "netns", "exec", name, sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True
        )
        stack.callback(server.wait)
        stack.callback(server.kill)
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        yield


class Bench:
    """Two running sources, the first with a sibling on a fixed port, and their guard."""

    def __init__(self, host: Host, image: str, instance: str) -> None:
        self.host = host
        self.instance = instance
        self.guard = Guard(instance, EgressSettings())
        self.gateway = ""
        self.sibling = 0
        self.projects = Projects(
            host.engine,
            host.composer,
            host.settings,
            images_of(host.engine, host.settings.data_dir),
            callback_url=host.callback.url,
            clock=SystemClock(),
            guard=self.guard,
        )
        self._image = image

    async def start(self) -> None:
        self.gateway = await self.host.engine.bridge_gateway()
        self.sibling = free_port(self.gateway)
        app = f'app: {{image: "{self._image}", ports: ["${{PORT}}:5555"]}}'
        script = "import sys; sys.path.insert(0, '/app'); import main; main.serve(7777)"
        command = json.dumps([PYTHON, "-c", script])
        side = f'side: {{image: "{self._image}", ports: ["{self.sibling}:7777"], command: {command}}}'
        first = f"services: {{{app}, {side}}}".encode()
        await self.projects.up(ProjectSpec(SOURCE, Environment.CPU, first))
        await self.projects.up(ProjectSpec(OTHER, Environment.CPU, f"services: {{{app}}}".encode()))

    async def reaches(self, source: Address, *targets: tuple[str, int]) -> set[str]:
        containers = await self.host.engine.containers({"ogpu.source": source, "ogpu.instance": self.instance})
        container = next(each for each in containers if each.service == "app")

        def ask(api: object) -> bytes:
            words = [PYTHON, "-c", PROBE, json.dumps(targets)]
            made = api.exec_create(container.id, words, stderr=False)  # type: ignore[attr-defined]
            output: bytes = api.exec_start(made["Id"])  # type: ignore[attr-defined]
            return output

        return set(json.loads(await self.host.engine.ask(ask)))

    async def address_of(self, source: Address) -> str:
        containers = await self.host.engine.containers({"ogpu.source": source, "ogpu.instance": self.instance})
        networks = next(each for each in containers if each.service == "app").raw["NetworkSettings"]["Networks"]
        return str(next(iter(networks.values()))["IPAddress"])

    def callback(self) -> tuple[str, int]:
        return self.gateway, self.host.callback.port


@pytest.fixture
async def bench(host: Host, image: str, outside: None) -> AsyncIterator[Bench]:
    made = Bench(host, image, host.settings.instance)
    try:
        await made.start()
        yield made
    finally:
        await made.projects.down(SOURCE)
        await made.projects.down(OTHER)
        assert chains(made.instance) == []


def chains(instance: str) -> list[str]:
    lines = execute("iptables", "-S").splitlines() + execute("ip6tables", "-S").splitlines()
    return [line for line in lines if line.startswith("-N") and rules.is_ours(instance, line.split()[1])]


def delete_all(instance: str) -> None:
    for command in ("iptables", "ip6tables"):
        for line in execute(command, "-S").splitlines():
            words = line.split()
            if words[0] == "-A" and words[-1] in (rules.forward_chain(instance), rules.input_chain(instance)):
                execute(command, "-D", *words[1:])


async def test_from_inside_a_container(bench: Bench) -> None:
    everywhere = [(address, 80) for address in (METADATA, PRIVATE, SHARED, LAN, PUBLIC)]
    mail = [(PUBLIC, 25), (PUBLIC, 587)]
    with socket.create_server((bench.gateway, 0)) as other_port:
        host_ports = [(bench.gateway, other_port.getsockname()[1]), (LINK[0], bench.host.callback.port)]
        stranger = [(await bench.address_of(OTHER), 5555)]
        own = [bench.callback(), (bench.gateway, bench.sibling)]
        asked = [*everywhere, *mail, *host_ports, *stranger, *own, ("side", 7777)]
        # the default: the internet, the callback, its own services, and nothing else
        allowed = {f"{host}:{port}" for host, port in [*own, (PUBLIC, 80), ("side", 7777)]}
        assert await bench.reaches(SOURCE, *asked) == allowed
        assert await bench.reaches(OTHER, (bench.gateway, bench.sibling), (PUBLIC, 80)) == {f"{PUBLIC}:80"}
        # tasks still come in, results still go out
        await bench.projects.dispatch(SOURCE, TASK, "multiply", '{"a": 6, "b": 7}')
        await asyncio.wait_for(bench.host.inbox.arrived.wait(), 10)
        assert await bench.guard.verify() == ""
        assert await problem(bench.instance, [SOURCE, OTHER]) == ""
        counted = bench.guard.traffic()[SOURCE]
        assert counted.sent > 1000
        assert counted.received > 0
        # without the rules everything answers: it was they that kept it away
        delete_all(bench.instance)
        assert "comes to our rules" in await problem(bench.instance, [SOURCE])
        open_now = {f"{host}:{port}" for host, port in [*everywhere, *mail, host_ports[0]]}
        assert await bench.reaches(SOURCE, *everywhere, *mail, host_ports[0]) == open_now
        # and the minute's look puts them back
        assert "comes to our rules" in await bench.guard.verify()
        assert await bench.reaches(SOURCE, *asked) == allowed
        assert bench.guard.traffic()[SOURCE].sent >= counted.sent


async def test_the_narrower_policies(bench: Bench) -> None:
    asked = [bench.callback(), (bench.gateway, bench.sibling), ("side", 7777), (PUBLIC, 80), (METADATA, 80)]
    callback, sibling, side = (f"{host}:{port}" for host, port in asked[:3])
    published = [Endpoint(bench.gateway, bench.sibling)]
    url = bench.host.callback.url(SOURCE)
    for policy, expected in ((Policy.CALLBACK_ONLY, {callback, sibling, side}), (Policy.NONE, {sibling, side})):
        guard = Guard(bench.instance, EgressSettings(policy))
        await guard.adopt({SOURCE: (url, published), OTHER: (bench.host.callback.url(OTHER), [])})
        assert await bench.reaches(SOURCE, *asked) == expected
    contract = await bench.projects.contract(SOURCE)  # the host still gets in
    assert contract is not None


async def test_a_new_life_of_the_daemon_holds_what_it_adopts(bench: Bench) -> None:
    delete_all(bench.instance)
    guard = Guard(bench.instance, EgressSettings())
    reborn = Projects(
        Engine(),
        bench.host.composer,
        bench.host.settings,
        images_of(bench.host.engine, bench.host.settings.data_dir),
        callback_url=bench.host.callback.url,
        clock=SystemClock(),
        guard=guard,
    )
    try:
        assert {each.source for each in await reborn.recover()} == {SOURCE, OTHER}
        expected = {f"{bench.gateway}:{bench.sibling}", f"{PUBLIC}:80"}
        asked = [(bench.gateway, bench.sibling), (PUBLIC, 80), (METADATA, 80)]
        assert await bench.reaches(SOURCE, *asked) == expected
        chain = rules.source_chains(bench.instance, SOURCE)[0]
        execute("iptables", "-F", chain)  # by somebody
        watch = asyncio.create_task(reborn.watch())  # an engine that comes back is one reason to look
        try:
            async with asyncio.timeout(5):
                while "169.254.0.0/16" not in execute("iptables", "-S", chain):
                    await asyncio.sleep(0.05)
        finally:
            watch.cancel()
        assert await bench.reaches(SOURCE, *asked) == expected
    finally:
        await reborn.aclose()


async def test_two_instances_keep_to_their_own_chains() -> None:
    first, second = (Guard(f"test-{secrets.token_hex(4)}", EgressSettings()) for _ in range(2))
    names = [guard._instance for guard in (first, second)]
    url = "http://127.0.0.1:1/x"
    try:
        await first.admit(SOURCE, url, [])
        await second.admit(SOURCE, url, [])
        assert (await first.verify(), await second.verify()) == ("", "")
        await first.release(SOURCE)
        assert chains(names[0]) == []
        assert await second.verify() == ""
        assert len(chains(names[1])) == 8
    finally:
        await first.release(SOURCE)
        await second.release(SOURCE)
    assert [chains(name) for name in names] == [[], []]
