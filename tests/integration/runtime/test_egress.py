"""What a container reaches, asked from inside of real ones, on an engine in a namespace of the test's own."""

import asyncio
import json
import os
import secrets
import shutil
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from ogpu_provider.domain.errors import EngineError
from ogpu_provider.domain.project import ProjectSpec
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.units import Address
from ogpu_provider.runtime.composer import SEARCH_PATH
from ogpu_provider.runtime.doors import free_port
from ogpu_provider.runtime.egress import rules
from ogpu_provider.runtime.egress.firewall import Iptables
from ogpu_provider.runtime.egress.guard import EgressSettings, Guard, problem
from ogpu_provider.runtime.egress.rules import Endpoint, Policy
from tests.integration.runtime import outside
from tests.integration.runtime.outside import LAN, LINK, METADATA, PRIVATE, PUBLIC, PUBLIC6, RESOLVER, SHARED, execute
from tests.own_engine import OwnEngine, namespace, need
from tests.own_host import OwnHost, own_host
from tests.runtime_host import PYTHON

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600), pytest.mark.asyncio(loop_scope="module")]
SOURCE, OTHER = Address("0x" + "3A" * 20), Address("0x" + "3B" * 20)
TASK = Address("0x" + "7A" * 20)
INSTANCE = "egress"
CALLBACK = "http://127.0.0.1:1/x"
_ASK = """
import json, socket, sys, threading
found = []
def ask(host, port):
    try: socket.create_connection((host, port), 1.5).close(); found.append(f"{host}:{port}")
    except OSError: pass
threads = [threading.Thread(target=ask, args=each) for each in json.loads(sys.argv[1])]
[t.start() for t in threads]; [t.join() for t in threads]
print(json.dumps(found))
"""
_RESOLVE = """
import json, os, socket, sys
os.environ["RES_OPTIONS"] = "timeout:1 attempts:1"
found = {}
for name in json.loads(sys.argv[1]):
    try: found[name] = socket.getaddrinfo(name, 80, socket.AF_INET)[0][4][0]
    except OSError: pass
print(json.dumps(found))
"""


class Bench:
    """Two running sources, the first with a sibling on a fixed port."""

    def __init__(self, host: OwnHost) -> None:
        self.host = host
        self.guard = host.guard
        self.gateway = ""
        self.sibling = 0
        self.specs: dict[Address, ProjectSpec] = {}

    async def start(self) -> None:
        self.gateway = await self.host.engine.bridge_gateway()
        self.sibling = free_port(self.gateway)
        app = f'app: {{image: "{self.host.image()}", ports: ["${{PORT}}:5555"]}}'
        side = f'side: {{image: "{self.host.image("sibling")}", ports: ["{self.sibling}:11434"]}}'
        files = {SOURCE: f"services: {{{app}, {side}}}", OTHER: f"services: {{{app}}}"}
        self.specs = {source: ProjectSpec(source, Environment.CPU, text.encode()) for source, text in files.items()}
        for spec in self.specs.values():
            await self.host.projects.up(spec)

    async def inside(self, source: Address, script: str, about: object) -> object:
        """What a script prints in the container of a source's service `app`."""
        container = await self._app(source)

        def ask(api: object) -> bytes:
            words = [PYTHON, "-c", script, json.dumps(about)]
            made = api.exec_create(container, words, stderr=False)  # type: ignore[attr-defined]
            output: bytes = api.exec_start(made["Id"])  # type: ignore[attr-defined]
            return output

        return json.loads(await self.host.engine.ask(ask))

    async def reaches(self, source: Address, *targets: tuple[str, int]) -> set[str]:
        found = await self.inside(source, _ASK, targets)
        assert isinstance(found, list)
        return set(found)

    async def _app(self, source: Address) -> str:
        found = await self.host.engine.containers({"ogpu.source": source, "ogpu.instance": INSTANCE})
        return next(each.id for each in found if each.service == "app")

    async def address_of(self, source: Address) -> str:
        found = await self.host.engine.containers({"ogpu.source": source, "ogpu.instance": INSTANCE})
        networks = next(each for each in found if each.service == "app").raw["NetworkSettings"]["Networks"]
        return str(next(iter(networks.values()))["IPAddress"])

    async def give_ipv6(self, source: Address, address: str, gateway: str) -> None:
        """What an engine with IPv6 would do: ours makes networks without it."""
        found = await self.host.engine.containers({"ogpu.source": source, "ogpu.instance": INSTANCE})
        pid = str(next(each for each in found if each.service == "app").raw["State"]["Pid"])
        bridge = rules.bridge_name(INSTANCE, source)
        execute("sysctl", "-qw", f"net.ipv6.conf.{bridge}.disable_ipv6=0", "net.ipv6.conf.all.forwarding=1")
        execute("ip", "addr", "add", f"{gateway}/64", "dev", bridge, "nodad")
        within = ("nsenter", "-t", pid, "-n")
        execute(*within, "sysctl", "-qw", "net.ipv6.conf.eth0.disable_ipv6=0")
        execute(*within, "ip", "addr", "add", f"{address}/64", "dev", "eth0", "nodad")
        execute(*within, "ip", "-6", "route", "add", "default", "via", gateway)

    def callback(self) -> tuple[str, int]:
        return self.gateway, self.host.callback.port


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench() -> AsyncIterator[Bench]:
    need("ip", "iptables", "nsenter")
    guard = Guard(INSTANCE, EgressSettings(), resolvers=lambda: (RESOLVER,))
    async with own_host(INSTANCE, ["--dns", RESOLVER], guard=guard) as host:
        with outside.outside():
            made = Bench(host)
            try:
                await made.start()
                yield made
            finally:
                await host.projects.down(SOURCE)
                await host.projects.down(OTHER)
                assert chains(INSTANCE) == []


def chains(instance: str, command: str = "iptables") -> list[str]:
    lines = execute(command, "-S").splitlines() + execute(command.replace("ip", "ip6", 1), "-S").splitlines()
    return [line for line in lines if line.startswith("-N") and rules.is_ours(instance, line.split()[1])]


def delete_jumps(instance: str) -> None:
    for command in ("iptables", "ip6tables"):
        for line in execute(command, "-S").splitlines():
            words = line.split()
            if words[0] == "-A" and words[-1] in (rules.forward_chain(instance), rules.input_chain(instance)):
                execute(command, "-D", *words[1:])


async def test_the_default_policy_from_inside_a_container(bench: Bench) -> None:
    everywhere = [(address, 80) for address in (METADATA, PRIVATE, SHARED, LAN, PUBLIC, RESOLVER)]
    mail = [(PUBLIC, 25), (PUBLIC, 587)]
    with socket.create_server((bench.gateway, 0)) as other_port:
        host_ports = [(bench.gateway, other_port.getsockname()[1]), (LINK[0], bench.host.callback.port)]
        stranger = [(await bench.address_of(OTHER), 5555)]
        own = [bench.callback(), (bench.gateway, bench.sibling)]
        asked = [*everywhere, *mail, *host_ports, *stranger, *own, ("side", 11434)]
        # the default: the internet, the callback, its own services, and nothing else
        allowed = {f"{host}:{port}" for host, port in [*own, (PUBLIC, 80), ("side", 11434)]}
        assert await bench.reaches(SOURCE, *asked) == allowed
        assert await bench.reaches(OTHER, (bench.gateway, bench.sibling), (PUBLIC, 80)) == {f"{PUBLIC}:80"}
        # tasks still come in, results still go out
        await bench.host.projects.dispatch(SOURCE, TASK, "multiply", '{"a": 6, "b": 7}')
        await asyncio.wait_for(bench.host.inbox.arrived.wait(), 60)
        assert await bench.guard.verify() == ""
        assert await problem(INSTANCE, [SOURCE, OTHER]) == ""
        counted = bench.host.projects.traffic()[SOURCE]
        assert counted.sent > 1000
        assert counted.received > 0
        # without the rules everything answers: it was they that kept it away
        delete_jumps(INSTANCE)
        assert "comes to our rules" in await problem(INSTANCE, [SOURCE])
        open_now = {f"{host}:{port}" for host, port in [*everywhere, *mail, host_ports[0]]}
        assert await bench.reaches(SOURCE, *everywhere, *mail, host_ports[0]) == open_now
        # and the minute's look puts them back
        assert "comes to our rules" in await bench.guard.verify()
        assert await bench.reaches(SOURCE, *asked) == allowed
        assert bench.guard.traffic()[SOURCE].sent >= counted.sent


async def test_names_are_resolved_but_lead_to_no_private_address(bench: Bench) -> None:
    """Through the engine's resolver, which asks the host's name server from within the container's network."""
    assert await bench.inside(SOURCE, _RESOLVE, list(outside.NAMES)) == outside.NAMES
    asked = [("public.example", 80), ("nas.example", 80), (RESOLVER, 80)]
    assert await bench.reaches(SOURCE, *asked) == {"public.example:80"}


async def test_the_same_over_ipv6(bench: Bench) -> None:
    await bench.give_ipv6(SOURCE, "fd00:5a::2", "fd00:5a::1")
    everywhere = [(address, 80) for address in outside.V6]
    with socket.create_server(("::", 0), family=socket.AF_INET6) as of_host:
        port = of_host.getsockname()[1]
        host_ports = [("fd00:5a::1", port), (outside.LINK6[0], port)]
        asked = [*everywhere, (PUBLIC6, 25), *host_ports]
        assert await bench.reaches(SOURCE, *asked) == {f"{PUBLIC6}:80"}
        delete_jumps(INSTANCE)
        assert await bench.reaches(SOURCE, *asked) == {f"{host}:{port}" for host, port in asked}
        assert await bench.guard.verify() != ""
        assert await bench.reaches(SOURCE, *asked) == {f"{PUBLIC6}:80"}


async def test_the_narrower_policies(bench: Bench) -> None:
    asked = [bench.callback(), (bench.gateway, bench.sibling), ("side", 11434), (PUBLIC, 80), (METADATA, 80)]
    callback, sibling, side = (f"{host}:{port}" for host, port in asked[:3])
    published = [Endpoint(bench.gateway, bench.sibling)]
    url = bench.host.callback.url(SOURCE)
    for policy, expected in ((Policy.CALLBACK_ONLY, {callback, sibling, side}), (Policy.NONE, {sibling, side})):
        guard = Guard(INSTANCE, EgressSettings(policy))
        await guard.adopt({SOURCE: (url, published), OTHER: (bench.host.callback.url(OTHER), [])})
        assert await bench.reaches(SOURCE, *asked) == expected
        assert await bench.inside(SOURCE, _RESOLVE, ["public.example"]) == {}, "no name either"
    assert await bench.host.projects.contract(SOURCE) is not None, "the host still gets in"
    assert await bench.guard.verify() != ""
    assert await bench.reaches(SOURCE, (PUBLIC, 80), (METADATA, 80)) == {f"{PUBLIC}:80"}


async def test_a_new_life_of_the_daemon_holds_what_it_adopts(bench: Bench) -> None:
    delete_jumps(INSTANCE)
    reborn = bench.host.reborn(Guard(INSTANCE, EgressSettings()))
    try:
        assert {each.source for each in await reborn.recover()} == {SOURCE, OTHER}
        expected = {f"{bench.gateway}:{bench.sibling}", f"{PUBLIC}:80"}
        asked = [(bench.gateway, bench.sibling), (PUBLIC, 80), (METADATA, 80)]
        assert await bench.reaches(SOURCE, *asked) == expected
        chain = rules.source_chains(INSTANCE, SOURCE)[0]
        execute("iptables", "-F", chain)  # by somebody
        watch = asyncio.create_task(reborn.watch())  # an engine that comes back is one reason to look
        try:
            async with asyncio.timeout(45):
                while "169.254.0.0/16" not in execute("iptables", "-S", chain):
                    await asyncio.sleep(0.05)
        finally:
            watch.cancel()
        assert await bench.reaches(SOURCE, *asked) == expected
    finally:
        await reborn.aclose()


async def test_sources_whose_rules_are_lost_for_good_are_stopped(bench: Bench, tmp_path: Path) -> None:
    """Our chains are flushed, and the firewall cannot be written any more: as a host's own tools may leave it."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("iptables-save", "ip6tables-save"):
        found = shutil.which(name, path=SEARCH_PATH)
        assert found is not None
        (tools / name).symlink_to(found)
    reborn = bench.host.reborn(Guard(INSTANCE, EgressSettings(), resolvers=lambda: (RESOLVER,)))
    await reborn.recover()
    assert await problem(INSTANCE, [SOURCE]) == ""
    blunt = Guard(INSTANCE, EgressSettings(), Iptables(str(tools)), resolvers=lambda: (RESOLVER,))
    stuck = bench.host.reborn(blunt)
    for chain in rules.source_chains(INSTANCE, SOURCE):
        execute("iptables", "-F", chain)
    try:
        await stuck.recover()
        with pytest.raises(EngineError) as lost:
            await stuck.health(SOURCE)
        assert lost.value.code == "engine.unfiltered"
        with pytest.raises(EngineError) as refused:
            await stuck.up(bench.specs[SOURCE])
        assert refused.value.code == "engine.unfiltered"
        left = await bench.host.engine.containers({"ogpu.source": SOURCE, "ogpu.instance": INSTANCE})
        assert left == [], "a source that is not held does not run"
    finally:
        await stuck.aclose()
        await reborn.aclose()
        await bench.host.projects.up(bench.specs[SOURCE])
    assert await problem(INSTANCE, [SOURCE, OTHER]) == ""


async def test_a_host_without_a_firewall_runs_what_its_operator_waives_and_nothing_else(
    bench: Bench, tmp_path: Path
) -> None:
    no_tools = Iptables(str(tmp_path))
    spec = bench.specs[OTHER]
    try:
        for settings in (EgressSettings(), EgressSettings(Policy.CALLBACK_ONLY, unfiltered=True)):
            strict = bench.host.reborn(Guard(INSTANCE, settings, no_tools))
            with pytest.raises(EngineError) as refused:
                await strict.up(spec)
            assert refused.value.code == "engine.unfiltered"
            assert "iptables" in refused.value.remedy
            await strict.aclose()
        elsewhere = bench.host.reborn(Guard(INSTANCE, EgressSettings(), bridges=frozenset))
        with pytest.raises(EngineError) as refused:
            await elsewhere.up(spec)
        assert (refused.value.code, "as root" in refused.value.remedy) == ("engine.unfiltered", True)
        assert await bench.host.engine.containers({"ogpu.source": OTHER, "ogpu.instance": INSTANCE}) == []
        await elsewhere.aclose()
        assert await bench.host.guard.verify(), "the other guard took the rules along, and they are put back"
        waived = bench.host.reborn(Guard(INSTANCE, EgressSettings(unfiltered=True), no_tools))
        await waived.up(spec)
        await waived.health(OTHER)
        await waived.aclose()
    finally:
        await bench.host.projects.up(spec)
    assert await problem(INSTANCE, [SOURCE, OTHER]) == ""


NETWORK_CHECKS = ("egress_rules", "callback_host", "callback_port", "callback_from_container")


async def doctor(bench: Bench, folder: Path, *checks: str) -> dict[str, tuple[str, str]]:
    """Status and finding of the checks of this host's network, as the command tells them."""
    config = folder / "config.toml"
    config.write_text(f"""data_dir = "{folder / "data"}"
[network]
name = "devnet"
rpc_url = "http://127.0.0.1:9"
ws_url = "ws://127.0.0.1:9"
publish_url = "http://127.0.0.1:9"
gateway_url = "http://127.0.0.1:9"
[runtime]
instance = "{INSTANCE}"
docker_host = "{bench.host.own.socket}"
unfiltered_egress = false
""")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ogpu_provider.cli.main", "doctor", "--json", "--config", str(config)),
        *("--only", *(checks or NETWORK_CHECKS)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    return {check["id"]: (check["status"], check["found"]) for check in json.loads(out)["checks"]}


async def test_the_doctor_finds_lost_rules_and_a_callback_that_is_cut_off(bench: Bench, tmp_path: Path) -> None:
    sound = await doctor(bench, tmp_path)
    assert {sound[name][0] for name in ("egress_rules", "callback_host", "callback_port")} == {"ok"}, sound
    assert sound["callback_from_container"][0] == "ok", sound
    cut_off = ("INPUT", "-i", "docker0", "-p", "tcp", "-j", "REJECT")
    overtaken = ("DOCKER-USER", "-j", "ACCEPT")
    try:
        execute("iptables", "-F", rules.source_chains(INSTANCE, SOURCE)[0])
        execute("iptables", "-I", *cut_off)
        ill = await doctor(bench, tmp_path)
        assert (ill["egress_rules"][0], "keeps nothing out" in ill["egress_rules"][1]) == ("failed", True), ill
        status, found = ill["callback_from_container"]
        assert (status, "does not reach" in found) == ("failed", True), ill
        execute("iptables", "-D", *cut_off)
        assert await bench.guard.verify() != ""
        execute("iptables", "-I", *overtaken)
        status, found = (await doctor(bench, tmp_path, "egress_rules"))["egress_rules"]
        assert (status, "no longer comes to our rules first" in found) == ("failed", True), found
        execute("iptables", "-D", *overtaken)
    finally:
        await bench.guard.verify()
    assert (await doctor(bench, tmp_path, "egress_rules"))["egress_rules"][0] == "ok"


async def test_rules_are_there_after_the_engine_was_restarted(bench: Bench) -> None:
    """It makes its own chains anew, and ends the containers."""
    watch = asyncio.create_task(bench.host.projects.watch())
    try:
        await asyncio.to_thread(bench.host.own.stop)
        for command in ("iptables", "ip6tables"):
            execute(command, "-F", "FORWARD")  # what a firewall's reload does meanwhile
        await asyncio.to_thread(bench.host.own.start)
        async with asyncio.timeout(60):
            while await problem(INSTANCE, [SOURCE, OTHER]):
                await asyncio.sleep(0.1)
        assert await bench.guard.verify() == ""
    finally:
        watch.cancel()
    for spec in bench.specs.values():
        await bench.host.projects.up(spec)
    asked = [bench.callback(), (PUBLIC, 80), (METADATA, 80), (PRIVATE, 80)]
    assert await bench.reaches(SOURCE, *asked) == {f"{bench.gateway}:{bench.callback()[1]}", f"{PUBLIC}:80"}


@pytest.fixture
def legacy(tmp_path: Path) -> Iterator[OwnEngine]:
    """An engine whose rules are in the kernel's older tables."""
    need("iptables-legacy", "ip6tables-legacy")
    folder = Path(tempfile.mkdtemp(prefix="ogpu-legacy-"))
    for name in ("iptables", "ip6tables"):
        found = shutil.which(f"{name}-legacy")
        assert found is not None
        (tmp_path / name).symlink_to(found)
    with ExitStack() as stack:
        stack.enter_context(namespace())
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        engine = OwnEngine(folder, environment={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
        stack.callback(engine.stop)
        engine.start()
        yield engine


async def test_the_older_tables_are_used_where_the_engine_uses_them(legacy: OwnEngine) -> None:
    instance = f"legacy-{secrets.token_hex(4)}"
    guard = Guard(instance, EgressSettings())
    await guard.admit(SOURCE, CALLBACK, [])
    assert len(chains(instance, "iptables-legacy")) == 8
    assert f"-A DOCKER-USER -j {rules.forward_chain(instance)}" in execute("iptables-legacy", "-S")
    assert chains(instance, "iptables-nft") == []
    assert await problem(instance, [SOURCE]) == ""
    await asyncio.to_thread(legacy.stop)
    execute("iptables-legacy", "-F")
    await asyncio.to_thread(legacy.start)
    assert await guard.verify() != ""
    assert await problem(instance, [SOURCE]) == ""
    await guard.release(SOURCE)
    assert chains(instance, "iptables-legacy") == []


async def test_two_instances_keep_to_their_own_chains() -> None:
    need("iptables")
    with namespace():
        first, second = (Guard(f"test-{secrets.token_hex(4)}", EgressSettings()) for _ in range(2))
        names = [guard._instance for guard in (first, second)]
        await first.admit(SOURCE, CALLBACK, [])
        await second.admit(SOURCE, CALLBACK, [])
        assert (await first.verify(), await second.verify()) == ("", "")
        await first.release(SOURCE)
        assert chains(names[0]) == []
        assert await second.verify() == ""
        assert len(chains(names[1])) == 8
        await second.release(SOURCE)
        assert [chains(name) for name in names] == [[], []]
