"""Trust, then verify: a created container compared with the plan, before its first instruction runs."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ogpu_provider.runtime.compose.render import Plan
from ogpu_provider.runtime.container import Container

_ANONYMOUS = re.compile(r"[0-9a-f]{64}")
_EMPTY = (
    "CapAdd",
    "VolumesFrom",
    "DeviceCgroupRules",
    "GroupAdd",
    "Sysctls",
    "Links",
    "Dns",
    "DnsSearch",
    "DnsOptions",
)
_DEFAULT = {
    "PidMode": ("",),
    "UTSMode": ("",),
    "UsernsMode": ("",),
    "IpcMode": ("", "private", "shareable"),
    "CgroupParent": ("",),
    "VolumeDriver": ("",),
    "OomScoreAdj": (0,),
}


def deviations(plan: Plan, containers: list[Container], image_ids: Mapping[str, str]) -> tuple[str, ...]:
    """What is not as planned, in words; empty if all is well. `image_ids`: pinned reference -> image id."""
    found = [
        f"{container.service}: not in the plan" for container in containers if container.service not in plan.services
    ]
    for name, service in plan.services.items():
        ours = [container for container in containers if container.service == name]
        if len(ours) != 1:
            found.append(f"{name}: {len(ours)} containers")
            continue
        found += [f"{name}: {text}" for text in _compare(plan, service, ours[0].raw, image_ids)]
    return tuple(found)


def _compare(
    plan: Plan, service: Mapping[str, Any], raw: Mapping[str, Any], image_ids: Mapping[str, str]
) -> Iterator[str]:
    host: Mapping[str, Any] = raw.get("HostConfig") or {}
    config: Mapping[str, Any] = raw.get("Config") or {}
    if raw.get("Image") != image_ids.get(service["image"]):
        yield "another image"
    if host.get("Privileged"):
        yield "privileged"
    yield from (f"{key} is set" for key in _EMPTY if host.get(key))
    yield from (f"{key} is {host.get(key)}" for key, good in _DEFAULT.items() if (host.get(key) or good[0]) not in good)
    if host.get("NetworkMode") != f"{plan.name}_default":
        yield f"network {host.get('NetworkMode')}"
    if [each.upper() for each in host.get("CapDrop") or ()] != ["ALL"]:
        yield "capabilities are left"
    if [each.split(":")[0] for each in host.get("SecurityOpt") or ()] != ["no-new-privileges"]:
        yield f"security options {host.get('SecurityOpt')}"
    if service.get("runtime", host.get("Runtime")) != host.get("Runtime"):
        yield f"runtime {host.get('Runtime')}"
    yield from _figures(service, host)
    yield from _ports(service, host)
    yield from _mounts(plan, service, raw)
    yield from _devices(service, host)
    labels = config.get("Labels") or {}
    if any(labels.get(name) != value for name, value in service["labels"].items()):
        yield "labels are missing"


def _figures(service: Mapping[str, Any], host: Mapping[str, Any]) -> Iterator[str]:
    expected = {
        "Memory": service["mem_limit"],
        "NanoCpus": round(service["cpus"] * 1e9),
        "PidsLimit": service["pids_limit"],
        "Init": True,
    }
    yield from (f"{key} is {host.get(key)}" for key, value in expected.items() if host.get(key) != value)
    policy = host.get("RestartPolicy") or {}
    wanted, _, count = service["restart"].partition(":")
    if (policy.get("Name") or "no", policy.get("MaximumRetryCount", 0)) != (wanted, int(count or 0)):
        yield f"restart policy {policy}"
    if (host.get("LogConfig") or {}).get("Type") != service["logging"]["driver"]:
        yield "another log driver"


def _ports(service: Mapping[str, Any], host: Mapping[str, Any]) -> Iterator[str]:
    planned = {
        (f"{port['target']}/{port['protocol']}", port["host_ip"], port["published"])
        for port in service.get("ports", ())
    }
    bound = {
        (name, binding.get("HostIp", ""), binding.get("HostPort", ""))
        for name, bindings in (host.get("PortBindings") or {}).items()
        for binding in bindings or ()
    }
    if planned != bound or host.get("PublishAllPorts"):
        yield f"ports {sorted(bound)}"


def _mounts(plan: Plan, service: Mapping[str, Any], raw: Mapping[str, Any]) -> Iterator[str]:
    """Our named volumes, tmpfs and what a waiver gave; besides, anonymous volumes that an image declares."""
    names = plan.document.get("volumes", {})
    planned = {
        volume["target"]: volume["source"] if volume["type"] == "bind" else names[volume["source"]]["name"]
        for volume in service.get("volumes", ())
    }
    bound = {volume["target"] for volume in service.get("volumes", ()) if volume["type"] == "bind"}
    for mount in raw.get("Mounts") or ():
        kind, name, target = mount.get("Type"), str(mount.get("Name", "")), mount.get("Destination")
        if kind == "tmpfs" or (kind == "volume" and target not in bound and planned.get(target) == name):
            continue
        if kind == "bind" and target in bound and planned[str(target)] == mount.get("Source"):
            continue
        anonymous = kind == "volume" and target not in planned and _ANONYMOUS.fullmatch(name)
        if not anonymous or mount.get("Driver") not in (None, "", "local"):
            yield f"a {kind} mounted on {target}"


def _devices(service: Mapping[str, Any], host: Mapping[str, Any]) -> Iterator[str]:
    paths = {f"{d.get('PathOnHost')}:{d.get('PathInContainer')}" for d in host.get("Devices") or ()}
    if paths != {device.rpartition(":")[0] for device in service.get("devices", ())}:
        yield f"devices {sorted(paths)}"
    requested = [tuple(r.get("DeviceIDs") or ("all",)) for r in host.get("DeviceRequests") or ()]
    reserved = service.get("deploy", {}).get("resources", {}).get("reservations", {}).get("devices", ())
    if requested != [tuple(each["device_ids"]) for each in reserved]:
        yield f"device requests {requested}"
