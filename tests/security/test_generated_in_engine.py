"""Generated files that the gate let through, created by a real engine: what it reports lies inside an allow-list too.

The list is written for the engine's words, apart from the renderer and from the comparison that follows each start.
"""

import asyncio
import json
import random
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ogpu_provider.domain.errors import EngineError
from ogpu_provider.domain.project import ProjectSpec
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.units import Address
from ogpu_provider.runtime.compose.check import check
from ogpu_provider.runtime.compose.policy import BIND_ROOTS, Limits
from ogpu_provider.runtime.compose.render import Plan
from ogpu_provider.runtime.compose.rules import RULES
from ogpu_provider.runtime.live import labels_of
from ogpu_provider.runtime.removal import remove
from ogpu_provider.runtime.verify import deviations
from tests.rendered import plan_of
from tests.runtime_host import Host, Imported, host, image, imported, pushed
from tests.security.generated import walk
from tests.sizes import size

__all__ = ["host", "image", "imported", "pushed"]
pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]
COUNT = size("engine files")
SHARES = max(1, COUNT // 50)
AT_ONCE = 3
EMPTY: tuple[object, ...] = (None, "", 0, -1, False, [], {}, [0, 0])
LIMITS = Limits(memory=256 << 20, cpus=1.0, pids=64)


@dataclass(frozen=True, slots=True)
class Admitted:
    number: int
    plan: Plan
    waived: frozenset[str]

    @property
    def source(self) -> Address:
        return source_of(self.number)


def source_of(number: int) -> Address:
    return Address(f"0x{number + 1:040x}")


def admitted(chance: random.Random, image: str, instance: str, first: int) -> list[Admitted]:
    """A share of them, numbered from `first`, no two rendered alike, of all environments."""
    found: dict[str, Admitted] = {}
    while len(found) < COUNT // SHARES:
        environment = chance.choice(list(Environment))
        waived = frozenset(RULES) if chance.random() < 0.3 else frozenset[str]()
        for text in accepted(chance, environment, waived):
            number = first + len(found)
            own = {"instance": instance, "source": source_of(number), "limits": LIMITS}
            plan = plan_of(text, environment, waived=waived, image=image, **own)
            if all(Path(each["source"]).is_dir() for each in binds(plan)):
                alike = json.dumps(plan.services, sort_keys=True)
                found.setdefault(re.sub(r'"ogpu\.[^,}]*', "", alike), Admitted(number, plan, waived))
    return list(found.values())[: COUNT // SHARES]


def accepted(chance: random.Random, environment: Environment, waived: frozenset[str]) -> list[bytes]:
    """Some of a walk; what lies between differs little."""

    def passes(tree: Any) -> bool:
        return check(json.dumps(tree).encode(), environment, waived=waived).accepted

    return [json.dumps(tree).encode() for tree in walk(chance, passes)][::3]


def binds(plan: Plan) -> list[dict[str, Any]]:
    return [each for body in plan.services.values() for each in body.get("volumes", ()) if each["type"] == "bind"]


@pytest.mark.parametrize("share", range(SHARES))
async def test_what_the_engine_reports_of_generated_files_lies_inside_the_allow_list(
    host: Host, imported: Imported, tmp_path: Path, share: int
) -> None:
    instance = f"{host.settings.instance}-gen"
    local = imported.api.inspect_image(imported.tag)["Id"]  # type: ignore[no-untyped-call]
    limit = asyncio.Semaphore(AT_ONCE)
    refused: list[str] = []

    async def one(each: Admitted) -> None:
        labels = labels_of(instance, each.source)
        directory = tmp_path / each.plan.name
        directory.mkdir()
        (directory / "compose.json").write_bytes(each.plan.text)
        async with limit:
            try:
                create = ("create", "--no-build", "--pull", "never")
                await host.composer.run(each.plan.name, directory, *create, seconds=60.0)
                containers = await host.engine.containers(labels)
                assert {c.service for c in containers} == set(each.plan.services)
                for container in containers:
                    assert not list(strays(container.raw, each)), each.plan.text
                assert deviations(each.plan, containers, {imported.tag: local}) == (), each.plan.text
            except EngineError as error:  # it made nothing of it: as good, if it is rare
                refused.append(f"{error}: {each.plan.text.decode()}")
            finally:
                await remove(host.engine, labels, grace=0)

    try:
        async with asyncio.TaskGroup() as group:
            for each in admitted(random.Random(share), imported.tag, instance, share * COUNT // SHARES):
                group.create_task(one(each))
    finally:
        for volume in imported.api.volumes(filters={"label": f"ogpu.instance={instance}"})["Volumes"] or ():
            imported.api.remove_volume(volume["Name"])
    assert len(refused) <= COUNT // SHARES // 8, refused


def strays(raw: Mapping[str, Any], each: Admitted) -> Iterator[str]:
    """Whatever of an inspected container is not on the list, key by key: an unknown key must say nothing."""
    host, config, project = raw["HostConfig"], raw["Config"], each.plan.name
    for key, value in host.items():
        if value in EMPTY:
            continue
        if key not in ALLOWED or not ALLOWED[key](value):
            yield f"{key} is {value}"
    yield from (f"{key} is not set" for key in REQUIRED if host.get(key) in EMPTY)
    if host["NetworkMode"] != f"{project}_default" or set(raw["NetworkSettings"]["Networks"]) != {f"{project}_default"}:
        yield f"network {host['NetworkMode']}"
    if host["Memory"] != host["MemorySwap"] or host["Memory"] > LIMITS.memory:
        yield "memory"
    for mount in raw["Mounts"]:
        ours = mount["Type"] == "volume" and mount["Name"].startswith(f"{project}_")
        below = mount["Type"] == "bind" and mount["Source"].startswith(BIND_ROOTS) and each.waived
        if not (ours or below or mount["Type"] == "tmpfs"):
            yield f"mount {mount}"
    foreign = [name for name in config["Labels"] if not name.startswith(("ogpu.", "com.docker.compose."))]
    if foreign or config["Labels"]["com.docker.compose.project"] != project:
        yield f"labels {foreign}"
    names = {line.partition("=")[0] for line in config["Env"]}
    yield from (f"variable {name}" for name in names if "PRIVATE_KEY" in name)
    yield from (f"variable {name}" for name in names if name.startswith("NVIDIA_") and name not in CHOSEN)


def _device(device: Mapping[str, str]) -> bool:
    return bool(re.fullmatch(r"/dev/kfd|/dev/dri/renderD12\d", device["PathOnHost"]))


def _request(request: Mapping[str, Any]) -> bool:
    ids = request["DeviceIDs"]
    return request["Driver"] == "nvidia" and request["Count"] == 0 and all(each.startswith("device-") for each in ids)


CHOSEN = {"NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES"}
ALLOWED: Mapping[str, Any] = {
    "Binds": lambda value: all(re.match(r"ogpu-|/(data|mnt|media|srv)(/|:)", each) for each in value),
    "Mounts": lambda value: all(each["Type"] in ("volume", "bind", "tmpfs") for each in value),
    "LogConfig": lambda value: value["Type"] == "local" and set(value["Config"]) <= {"max-size", "max-file"},
    "NetworkMode": lambda value: value.startswith("ogpu-"),
    "PortBindings": lambda value: all(
        row["HostIp"] in ("127.0.0.1", "172.17.0.1") and int(row["HostPort"]) >= 1024
        for rows in value.values()
        for row in rows
    ),
    "RestartPolicy": lambda value: value["Name"] in ("no", "", "on-failure") and value["MaximumRetryCount"] <= 5,
    "CapDrop": lambda value: value == ["ALL"],
    "SecurityOpt": lambda value: value == ["no-new-privileges:true"],
    "ExtraHosts": lambda value: [each.replace("=", ":") for each in value] == ["host.docker.internal:172.17.0.1"],
    "IpcMode": lambda value: value in ("private", "shareable"),
    "CgroupnsMode": lambda value: value in ("private", "host"),
    "Runtime": lambda value: value == "runc",
    "ShmSize": lambda value: value <= max(LIMITS.memory, 64 << 20),
    "Tmpfs": lambda value: all("size=" in options for options in value.values()),
    "Memory": lambda value: value <= LIMITS.memory,
    "MemorySwap": lambda value: value <= LIMITS.memory,
    "NanoCpus": lambda value: value <= LIMITS.cpus * 1e9,
    "PidsLimit": lambda value: 0 < value <= LIMITS.pids,
    "Ulimits": lambda value: value == [{"Name": "core", "Hard": 0, "Soft": 0}],
    "Devices": lambda value: all(map(_device, value)),
    "DeviceRequests": lambda value: all(map(_request, value)),
    "ReadonlyRootfs": lambda value: True,
    "Init": lambda value: value is True,
    "MaskedPaths": lambda value: {"/proc/kcore", "/proc/keys", "/sys/firmware"} <= set(value),
    "ReadonlyPaths": lambda value: {"/proc/sys", "/proc/sysrq-trigger"} <= set(value),
}
REQUIRED = (
    *("CapDrop", "SecurityOpt", "Memory", "NanoCpus", "PidsLimit", "Init", "LogConfig", "MaskedPaths"),
    *("ReadonlyPaths", "Ulimits"),
)


async def test_a_waived_directory_is_in_the_container_and_nothing_beside_it(host: Host, image: str) -> None:
    """Below one of the roots that a waiver reaches; a link, or our own data, is refused though it was waived."""
    root = Path("/srv") / f"ogpu-test-{secrets.token_hex(4)}"
    (root / "models").mkdir(parents=True)
    (root / "models" / "weights").write_text("42")
    (root / "link").symlink_to("/etc")
    waived = frozenset({"compose.bind_mount"})
    source = Address("0x" + "5E" * 20)

    def spec(path: Path) -> ProjectSpec:
        mount = f'"{path}:/models:ro"'
        text = f'services: {{app: {{image: "{image}", ports: ["${{PORT}}:5555"], volumes: [{mount}]}}}}'
        return ProjectSpec(source, Environment.CPU, text.encode(), (), waived)

    try:
        projects = host.projects()
        await projects.up(spec(root / "models"))
        (container,) = await host.engine.containers({"ogpu.source": source})
        (mount,) = container.raw["Mounts"]
        seen = (mount["Type"], mount["Source"], mount["Destination"], mount["RW"], mount["Propagation"])
        assert seen == ("bind", str(root / "models"), "/models", False, "rprivate")
        await projects.down(source)
        assert (root / "models" / "weights").read_text() == "42"
        ours = host.projects(data_dir=root / "models" / "ours")
        for project, path in ((projects, root / "link"), (projects, root / "nothing"), (ours, root / "models")):
            with pytest.raises(EngineError) as caught:
                await project.up(spec(path))
            assert caught.value.code == "engine.bind"
    finally:
        for path in (root / "models" / "weights", root / "link"):
            path.unlink(missing_ok=True)
        for path in (root / "models", root):
            path.rmdir()
