"""Projects on a real engine: pulled by digest, hardened, called, answering, adopted, taken down."""

import asyncio
import json

import docker
import pytest

from ogpu_provider.domain.errors import DispatchError, EngineError, Retry
from ogpu_provider.domain.project import ProjectSpec, RunningProject
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.units import Address
from ogpu_provider.runtime.compose.gate import fingerprint
from tests.runtime_host import PYTHON, Host

pytestmark = pytest.mark.docker
SOURCE = Address("0x" + "5A" * 20)
TASK = Address("0x" + "7A" * 20)


def compose(image: str, extra: str = "", top: str = "") -> bytes:
    return f"""
services:
  app:
    image: {image}
    ports: ["${{PORT}}:5555"]
    environment:
      CALLBACK_URL: ${{CALLBACK_URL}}
      PRICE: "$$5"
    networks: [app_network]
    {extra}
networks:
  app_network: {{driver: bridge}}
{top}""".encode()


def spec(image: str, extra: str = "", top: str = "") -> ProjectSpec:
    return ProjectSpec(SOURCE, Environment.CPU, compose(image, extra, top))


async def result(host: Host, task: Address = TASK) -> object:
    async with asyncio.timeout(60):
        while (SOURCE, task) not in host.inbox.bodies:
            host.inbox.arrived.clear()
            await host.inbox.arrived.wait()
    return json.loads(host.inbox.bodies[SOURCE, task])


async def test_a_source_is_pulled_started_called_and_answers(host: Host, image: str) -> None:
    projects = host.projects()
    assert await host.engine.image(image) is None
    await projects.up(spec(image))
    assert await host.engine.image(image) is not None
    contract = await projects.contract(SOURCE)
    assert contract is not None
    assert "multiply" in contract.functions
    assert contract.violations("multiply", '{"a": 6, "b": 7}') == ()
    assert contract.violations("multiply", '{"a": "six"}') != ()
    await projects.health(SOURCE)
    await projects.dispatch(SOURCE, TASK, "multiply", '{"a": 6, "b": 7}')
    assert await result(host) == {"result": 42}
    await projects.keep_logs(SOURCE, TASK, 0.0)
    assert "run multiply" in await projects.read_log(TASK)
    await projects.down(SOURCE)
    assert await projects.contract(SOURCE) is None
    assert await host.engine.containers({"ogpu.instance": host.settings.instance}) == []


async def test_inside_there_is_no_power_and_nothing_of_ours(host: Host, image: str) -> None:
    projects = host.projects()
    await projects.up(spec(image))
    await projects.dispatch(SOURCE, TASK, "facts", "null")
    facts = await result(host)
    assert isinstance(facts, dict)
    assert int(facts["capabilities"], 16) == 0
    assert facts["no_new_privileges"] == "1"
    assert facts["init"].endswith("init")
    environment = facts["environment"]
    assert environment["PRICE"] == "$5"
    assert environment["SOURCE_ADDRESS"] == SOURCE
    assert environment["PROVIDER_ADDRESS"] == host.settings.provider
    assert environment["NVIDIA_VISIBLE_DEVICES"] == "void"
    given = {"CALLBACK_URL", "CALLBACK_ADDRESS", "SOURCE_ADDRESS", "PROVIDER_ADDRESS", "PRICE"}
    image_own = {"PATH", "PYTHONHOME", "PYTHONUNBUFFERED", "HOSTNAME", "HOME", "NVIDIA_VISIBLE_DEVICES"}
    assert set(environment) <= given | image_own | {"LC_CTYPE"}
    (container,) = await host.engine.containers({"ogpu.source": SOURCE})
    bindings = container.raw["HostConfig"]["PortBindings"]["5555/tcp"]
    assert [binding["HostIp"] for binding in bindings] == ["127.0.0.1"]


async def test_up_again_changes_nothing_and_another_file_replaces_it(host: Host, image: str) -> None:
    projects = host.projects()
    await projects.up(spec(image))
    (first,) = await host.engine.containers({"ogpu.source": SOURCE})
    await projects.up(spec(image))
    (second,) = await host.engine.containers({"ogpu.source": SOURCE})
    assert second.id == first.id
    await projects.up(spec(image, "tty: true"))
    (third,) = await host.engine.containers({"ogpu.source": SOURCE})
    assert third.id != first.id


async def test_another_daemon_life_adopts_without_a_restart(host: Host, image: str) -> None:
    await host.projects().up(spec(image))
    (before,) = await host.engine.containers({"ogpu.source": SOURCE})
    reborn = host.projects()
    assert await reborn.recover() == [
        RunningProject(SOURCE, Environment.CPU, fingerprint(compose(image)), ()),
    ]
    await reborn.up(spec(image))
    await reborn.dispatch(SOURCE, TASK, "multiply", '{"a": 2, "b": 3}')
    assert await result(host) == {"result": 6}
    (after,) = await host.engine.containers({"ogpu.source": SOURCE})
    assert (after.id, after.raw["State"]["StartedAt"]) == (before.id, before.raw["State"]["StartedAt"])


async def test_two_daemons_do_not_meet(host: Host, image: str) -> None:
    ours, theirs = host.projects(), host.projects(instance=f"{host.settings.instance}-b")
    await ours.up(spec(image))
    try:
        await theirs.up(spec(image))
        assert len(await host.engine.containers({"ogpu.source": SOURCE})) == 2
        await ours.down(SOURCE)
        (left,) = await host.engine.containers({"ogpu.source": SOURCE})
        assert left.labels["ogpu.instance"] == f"{host.settings.instance}-b"
        await theirs.health(SOURCE)
    finally:
        await theirs.down(SOURCE)


async def test_named_volumes_outlive_a_project(host: Host, image: str) -> None:
    projects = host.projects()
    with_cache = spec(image, 'volumes: ["cache:/usr/local/bin"]', "volumes: {cache: }")
    await projects.up(with_cache)
    await projects.down(SOURCE)
    client = docker.APIClient(version="auto")
    names = [v["Name"] for v in client.volumes(filters={"label": f"ogpu.source={SOURCE}"})["Volumes"]]
    client.close()
    assert names == [f"ogpu-{host.settings.instance}-{SOURCE[2:].lower()}_cache"]
    await projects.tidying.measure()
    (cache,) = projects.tidying.caches
    assert (cache.source, cache.volume) == (SOURCE, names[0])
    assert cache.size is not None
    assert cache.size > 10_000, "the image's own files at that place are copied into it"
    await projects.up(with_cache)


@pytest.mark.parametrize(
    ("script", "seconds", "code", "words"),
    [
        ("import sys; sys.exit('no model')", 20.0, "engine.exited", "no model"),
        ("import time; time.sleep(60)", 2.0, "engine.never_ready", "2 s"),
        ("hoard = [bytearray(2**24) for _ in range(99)]", 20.0, "engine.oom", "memory"),
    ],
)
async def test_a_failed_start_has_its_code_and_leaves_nothing(
    host: Host, image: str, script: str, seconds: float, code: str, words: str
) -> None:
    extra = f'command: ["{PYTHON}", "-c", "{script}"]'
    projects = host.projects(ready_timeout=seconds)
    with pytest.raises(EngineError) as caught:
        await projects.up(spec(image, extra))
    assert caught.value.code == code
    assert words in str(caught.value)
    assert await host.engine.containers({"ogpu.instance": host.settings.instance}) == []


async def test_an_image_that_is_nowhere(host: Host, image: str) -> None:
    registry = image.partition("/")[0]
    for reference in (f"{registry}/test/source@sha256:{'0' * 64}", f"{registry}/test/missing:1"):
        with pytest.raises(EngineError) as caught:
            await host.projects().up(spec(reference))
        assert caught.value.code == "engine.image_missing"


async def test_a_tag_is_pinned_to_what_the_registry_has(host: Host, image: str) -> None:
    repository, _, digest = image.partition("@")
    await host.projects().up(spec(f"{repository}:1"))
    (container,) = await host.engine.containers({"ogpu.source": SOURCE})
    assert container.raw["Config"]["Image"] == f"{repository}@{digest}"


async def test_refusals_of_a_container_have_codes(host: Host, image: str) -> None:
    projects = host.projects()
    await projects.up(spec(image))
    codes = {}
    for function, data in (("busy", "{}"), ("nothing", "{}"), ("multiply", '{"a": "x"}')):
        with pytest.raises(DispatchError) as caught:
            await projects.dispatch(SOURCE, TASK, function, data)
        codes[function] = (caught.value.code, caught.value.retry)
    assert codes == {
        "busy": ("dispatch.busy", Retry.LATER),
        "nothing": ("dispatch.rejected", Retry.NEVER),
        "multiply": ("dispatch.rejected", Retry.NEVER),
    }


async def test_a_container_that_ends_is_noticed_at_once(host: Host, image: str) -> None:
    projects = host.projects()
    await projects.up(spec(image))
    watch = asyncio.create_task(projects.watch())
    try:
        await asyncio.sleep(0.3)
        await projects.health(SOURCE)
        with pytest.raises(DispatchError):
            await projects.dispatch(SOURCE, TASK, "crash", "{}")
        async with asyncio.timeout(60):
            while not host.changes:
                await asyncio.sleep(0.02)
        with pytest.raises(EngineError) as caught:
            await projects.health(SOURCE)
        assert caught.value.code == "engine.exited"
    finally:
        watch.cancel()
    await projects.up(spec(image))
    await projects.health(SOURCE)


async def test_a_sibling_is_reached_through_the_host_and_by_name(host: Host, image: str) -> None:
    """A fixed host port is bound on the bridge only, and published files reach it as host.docker.internal."""
    port = 20000 + hash(image) % 10000
    script = (
        "import urllib.request as u; "
        f"print('by host', u.urlopen('http://host.docker.internal:{port}/openapi.json', timeout=30).status); "
        "print('by name', u.urlopen('http://side:6000/openapi.json', timeout=30).status)"
    )
    side = f"""
  side:
    image: {image}
    ports: ["{port}:6000"]
    command:
      - /usr/local/bin/python3
      - -c
      - "import sys; sys.path.insert(0, '/app'); import main; main.serve(6000)"
  probe:
    image: {image}
    depends_on: [side]
    restart: on-failure:5
    command: ["/usr/local/bin/python3", "-c", "{script}"]
networks:"""
    text = compose(image).replace(b"\nnetworks:", side.encode())
    projects = host.projects()
    await projects.up(ProjectSpec(SOURCE, Environment.CPU, text))
    async with asyncio.timeout(60):
        while True:
            await projects.keep_logs(SOURCE, TASK, 0.0)
            printed = await projects.read_log(TASK)
            if "by name 200" in printed:
                break
            await asyncio.sleep(0.2)
    assert "by host 200" in printed
    (found,) = [c for c in await host.engine.containers({"ogpu.source": SOURCE}) if c.service == "side"]
    gateway = await host.engine.bridge_gateway()
    assert [b["HostIp"] for b in found.raw["HostConfig"]["PortBindings"]["6000/tcp"]] == [gateway]
