"""A container that is not what the plan says is found, whatever the difference."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from ogpu_provider.domain.resources import Device
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.units import Address
from ogpu_provider.runtime.compose.check import EXAMPLE
from ogpu_provider.runtime.compose.gate import admit
from ogpu_provider.runtime.compose.render import Grant, Plan, render
from ogpu_provider.runtime.container import Container
from ogpu_provider.runtime.verify import deviations

PINNED = "x/y@sha256:" + "0" * 64
FILE = b"""
services: {web: {image: x/y, ports: ["5555", "12436:80"], gpus: all, volumes: ["c:/c"]}}
volumes: {c: null}
"""


def plan() -> Plan:
    return render(
        admit(FILE, Environment.NVIDIA, EXAMPLE),
        Grant(
            instance="test",
            source=Address("0x" + "Ab" * 20),
            environment=Environment.NVIDIA,
            compose_sha256="0" * 64,
            variables=EXAMPLE,
            images={"x/y:latest": PINNED},
            dispatch_host="127.0.0.1",
            gateway="172.17.0.1",
            devices=(Device("GPU-1", Environment.NVIDIA, "x", 0),),
        ),
    )


def inspected(plan: Plan) -> dict[str, Any]:
    service = plan.services["web"]
    return {
        "Image": "sha256:image",
        "Config": {"Labels": dict(service["labels"])},
        "Mounts": [{"Type": "volume", "Name": f"{plan.name}_c", "Destination": "/c", "Driver": "local"}],
        "HostConfig": {
            "Privileged": False,
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges:true"],
            "NetworkMode": f"{plan.name}_default",
            "IpcMode": "private",
            "Memory": service["mem_limit"],
            "NanoCpus": round(service["cpus"] * 1e9),
            "PidsLimit": service["pids_limit"],
            "Init": True,
            "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
            "LogConfig": {"Type": "local"},
            "PortBindings": {
                "5555/tcp": [{"HostIp": "127.0.0.1", "HostPort": "40000"}],
                "80/tcp": [{"HostIp": "172.17.0.1", "HostPort": "12436"}],
            },
            "DeviceRequests": [{"Driver": "nvidia", "DeviceIDs": ["GPU-1"]}],
        },
    }


def found(raw: dict[str, Any], plan: Plan) -> tuple[str, ...]:
    container = Container("id", "web", raw["Config"]["Labels"], "created", 0, False, raw)
    return deviations(plan, [container], {PINNED: "sha256:image"})


def test_what_was_planned_passes() -> None:
    made = plan()
    assert found(inspected(made), made) == ()


def host(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda raw: raw["HostConfig"].update(changes)


@pytest.mark.parametrize(
    "spoil",
    [
        host(Privileged=True),
        host(CapAdd=["SYS_ADMIN"]),
        host(CapDrop=[]),
        host(SecurityOpt=["no-new-privileges:true", "seccomp=unconfined"]),
        host(SecurityOpt=None),
        host(NetworkMode="host"),
        host(PidMode="host"),
        host(IpcMode="host"),
        host(UTSMode="host"),
        host(UsernsMode="host"),
        host(CgroupParent="/"),
        host(GroupAdd=["999"]),
        host(VolumesFrom=["wallet"]),
        host(Sysctls={"a": "b"}),
        host(DeviceCgroupRules=["a *:* rwm"]),
        host(Memory=0),
        host(NanoCpus=0),
        host(PidsLimit=None),
        host(Init=None),
        host(RestartPolicy={"Name": "always"}),
        host(LogConfig={"Type": "syslog"}),
        host(PublishAllPorts=True),
        host(PortBindings={"5555/tcp": [{"HostIp": "", "HostPort": "40000"}]}),
        host(Devices=[{"PathOnHost": "/dev/sda", "PathInContainer": "/dev/sda"}]),
        host(DeviceRequests=[{"Driver": "nvidia", "Count": -1}]),
        host(DeviceRequests=None),
        lambda raw: raw.update(Image="sha256:other"),
        lambda raw: raw.update(Mounts=[{"Type": "bind", "Source": "/", "Destination": "/host"}]),
        lambda raw: raw.update(Mounts=[{"Type": "volume", "Name": "other_project", "Destination": "/c"}]),
        lambda raw: raw["Config"]["Labels"].pop("ogpu.source"),
    ],
)
def test_every_deviation_is_found(spoil: Callable[[dict[str, Any]], None]) -> None:
    made = plan()
    raw = deepcopy(inspected(made))
    spoil(raw)
    assert found(raw, made)


def test_missing_and_surplus_containers_are_found() -> None:
    made = plan()
    assert deviations(made, [], {}) == ("web: 0 containers",)
    raw = inspected(made)
    extra = Container("id", "spy", {}, "created", 0, False, raw)
    assert "spy: not in the plan" in deviations(made, [extra], {})
