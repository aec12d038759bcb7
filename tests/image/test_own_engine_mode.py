"""The image with an engine of its own: by compose/provider.yml, over an upgrade, on fuse, and where it cannot."""

import json
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from ogpu_provider.domain.task import TaskState
from tests.image import relay
from tests.image.composition import Composition, inspected, ran
from tests.image.work import Local
from tests.waiting import until

pytestmark = [
    pytest.mark.devnet,
    pytest.mark.docker,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(900),
]
SUBNET, GATEWAY = "10.199.81.0/24", "10.199.81.1"
NEARLY_PRIVILEGED = {
    "cap_add": ["ALL"],
    "cap_drop": ["SYS_RESOURCE"],
    "security_opt": ["seccomp=unconfined", "apparmor=unconfined", "systempaths=unconfined"],
    "device_cgroup_rules": ["a *:* rwm"],
}
"""All of --privileged that a host can give which itself lacks CAP_SYS_RESOURCE: its engine refuses the flag."""


@pytest.fixture(scope="session")
def privileges(image: str) -> list[str]:
    """Flags of `docker run`."""
    words = ["docker", "run", "--rm", "--entrypoint", "/bin/true"]
    if subprocess.run([*words, "--privileged", image], capture_output=True, check=False).returncode == 0:
        return ["--privileged"]
    names = {"cap_add": "--cap-add", "cap_drop": "--cap-drop", "security_opt": "--security-opt"}
    names["device_cgroup_rules"] = "--device-cgroup-rule"
    return [word for key, values in NEARLY_PRIVILEGED.items() for value in values for word in (names[key], value)]


@pytest_asyncio.fixture(loop_scope="session")
async def inner(
    local: Local, composition: Composition, image: str, privileges: list[str]
) -> AsyncIterator[Composition]:
    """The file's service `provider-inner`, with the local network at the container's own 127.0.0.1."""
    assert local.network.registry is not None
    made = local.network.describe()
    ports = {int(made[name].rpartition(":")[2]) for name in ("rpc_url", "pin_url", "registry")}
    rules = {} if privileges == ["--privileged"] else NEARLY_PRIVILEGED
    changed = "".join(f"    {key}: {json.dumps(value)}\n" for key, value in rules.items())
    unset = "    privileged: !reset false\n" if rules else ""
    command = ["/opt/ogpu-provider/bin/python", "/relay.py", "127.0.0.1", GATEWAY, *map(str, sorted(ports))]
    composition.change(
        f"  provider-inner:\n    healthcheck: {{interval: 5s}}\n{unset}{changed}"
        f"  relay:\n    image: {image}\n    network_mode: service:provider-inner\n    profiles: [inner]\n"
        f"    entrypoint: {json.dumps(command)}\n    volumes: ['{Path(relay.__file__)}:/relay.py:ro']\n"
        f"networks:\n  default: {{ipam: {{config: [{{subnet: {SUBNET}, gateway: {GATEWAY}}}]}}}}\n"
    )
    servers = await relay.listen(GATEWAY, "127.0.0.1", ports)
    yield composition
    for server in servers:
        server.close()


async def test_a_task_under_way_is_done_again_by_the_version_that_follows(
    local: Local, inner: Composition, newer_image: str
) -> None:
    """Its containers end with it; engine, images and journal are in the volumes."""
    await inner.register(local.network, local.source)
    await inner.compose("up", "--detach", "provider-inner", "relay")
    first = await inner.healthy("provider-inner")
    await inner.ready()
    assert (await inspected(first))["HostConfig"]["NetworkMode"].endswith("_default")
    engine = await ran("docker", "exec", first, "docker", "info", "--format", "{{.Driver}}")
    assert engine.out.strip() == "overlay2"
    images = (await ran("docker", "exec", first, "docker", "images", "--quiet", "--no-trunc")).out
    done = await local.publish("multiply", {"a": 6, "b": 7})
    assert (await local.finalised(done))["payload"] == {"result": 42}

    task = await local.publish("sleep", {"seconds": 15}, life=150)
    await inner.task_in(task, TaskState.EXECUTING)
    inner.image = newer_image
    await inner.compose("up", "--detach", "provider-inner", "relay")
    second = await inner.healthy("provider-inner")
    assert (await inspected(second))["Config"]["Labels"]["org.opencontainers.image.version"] == "newer"
    assert second != first
    assert images
    assert (await ran("docker", "exec", second, "docker", "images", "--quiet", "--no-trunc")).out == images
    assert (await local.finalised(task, 170))["payload"] == {"slept": 15.0}
    assert await local.sent(task) == (1, 1)
    assert await local.sent(done) == (1, 1)


HOLD = """
printf '#!/bin/sh\\nexec sleep 600\\n' >/opt/ogpu-provider/bin/ogpu-provider
mkdir /srv/engine
mount --bind /srv/engine /var/lib/docker
exec /opt/ogpu-provider/bin/python -m ogpu_provider.service.container boot run
"""
"""In place of the daemon somebody who sleeps; the engine's directory on the container's own layers."""
IN_IT = """
tar -chf - /bin/true $(ldd /bin/true | grep -o '/[^ ]*') 2>/dev/null | docker import - tried >/dev/null
docker run --rm --network none tried /bin/true
"""


@pytest.fixture
def on_layers(image: str, privileges: list[str]) -> Iterator[str]:
    """A container whose engine lies on an overlay, which an overlay cannot be put upon."""
    name = f"ogpu-image-test-{os.getpid()}"
    words = ["--detach", "--init", "--name", name, *privileges, "--device", "/dev/fuse", "--entrypoint", "/bin/sh"]
    subprocess.run(["docker", "run", *words, image, "-ec", HOLD], check=True, capture_output=True)
    yield name
    subprocess.run(["docker", "rm", "--force", "--volumes", name], capture_output=True, check=False)


async def test_where_overlays_cannot_be_made_it_runs_on_fuse(on_layers: str) -> None:
    async def driver() -> str:
        found = await ran("docker", "exec", on_layers, "docker", "info", "--format", "{{.Driver}}")
        assert (await inspected(on_layers))["State"]["Running"], (await ran("docker", "logs", on_layers)).err
        return found.out.strip() if found.code == 0 else ""

    assert await until(driver, 120, "the inner engine", pause=0.5) == "fuse-overlayfs"
    done = await ran("docker", "exec", on_layers, "sh", "-ec", IN_IT)
    assert done.code == 0, done.out + done.err


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ([], "this container may not run its own"),
        (["--cap-add", "SYS_ADMIN", "--security-opt", "apparmor=unconfined"], "the inner engine ended with"),
    ],
)
async def test_where_it_may_not_it_says_how_it_may(image: str, flags: list[str], sentence: str) -> None:
    done = await ran("docker", "run", "--rm", "--network", "none", *flags, image, "run")
    assert done.code == 2, done
    last = done.err.strip().splitlines()[-1]
    assert last.startswith("error [container.no_engine]: ")
    assert sentence in last
    assert "--privileged" in last


async def test_what_needs_no_engine_starts_none(image: str) -> None:
    done = await ran("docker", "run", "--rm", "--network", "none", image, "config", "show", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["settings"]["data_dir"]["value"] == "/var/lib/ogpu-provider"
