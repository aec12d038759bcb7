"""What a rendered file may contain at most, written apart from the renderer: the second look at its work.

Reads our own file, and what the compose command makes of it (`config --format json`), which spells figures and
devices out differently. Anything that is not listed is a stray.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ogpu_provider.runtime.compose.policy import BIND_ROOTS

_TOP = frozenset({"name", "services", "networks", "volumes"})
_FREE = frozenset(
    {
        *("command", "entrypoint", "environment", "expose", "working_dir", "user", "hostname", "platform", "read_only"),
        *("stop_signal", "tty", "stdin_open", "stop_grace_period", "healthcheck", "depends_on", "shm_size", "tmpfs"),
    }
)
_FIXED: Mapping[str, tuple[object, ...]] = {
    "pull_policy": ("never",),
    "init": (True,),
    "runtime": (None, "runsc"),
    "cap_drop": (["ALL"],),
    "security_opt": (["no-new-privileges:true"],),
    "ulimits": ({"core": 0}, {"core": {"hard": 0, "soft": 0}}, {"core": {}}),
    "logging": ({"driver": "local", "options": {"max-size": "10m", "max-file": "3"}},),
}
_PATTERNS = {
    "restart": re.compile(r"no|on-failure:[1-5]"),
    "image": re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._:/-]*(@sha256:[0-9a-f]{64})?"),
    "extra_hosts": re.compile(r"host\.docker\.internal[:=][0-9a-fA-F.:]+"),
}
_FIGURES = ("mem_limit", "memswap_limit", "cpus", "pids_limit")
_DEVICE = re.compile(r"/dev/kfd|/dev/dri/renderD\d{1,3}")
_PORT_KEYS = frozenset({"target", "published", "protocol", "mode", "host_ip"})
_NVIDIA = {"NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES"}


def strays(document: Mapping[str, Any]) -> tuple[str, ...]:
    """Each thing in a rendered file that is not allowed, in words; empty if all is."""
    found = [f"the key {key}" for key in document if key not in _TOP]
    name = str(document.get("name"))
    networks = document.get("networks") or {}
    if list(networks) != ["default"] or networks["default"].get("driver") != "bridge":
        found.append("networks besides the project's bridge")
    if any(set(each) & {"external", "attachable"} or each.get("ipam") for each in networks.values()):
        found.append("a network with addresses or doors of its own")
    volumes = document.get("volumes") or {}
    for key, volume in volumes.items():
        if set(volume) - {"name", "labels"} or volume.get("name") != f"{name}_{key}":
            found.append(f"the volume {key}")
    for service, body in document["services"].items():
        found += [f"{service}: {text}" for text in _service(body, volumes)]
    return tuple(found)


def _service(body: Mapping[str, Any], volumes: Mapping[str, Any]) -> Iterator[str]:
    known = _FREE | set(_FIXED) | set(_PATTERNS) | set(_FIGURES)
    for key, value in body.items():
        if value is None and key in ("command", "entrypoint"):
            continue  # what compose writes where the author said nothing
        check = _CHECKS.get(key)
        if check is not None:
            yield from check(value, volumes)
        elif key not in known:
            yield f"the key {key}"
    yield from (f"{key} is {body.get(key)}" for key, good in _FIXED.items() if body.get(key) not in good)
    yield from (f"{key} is {body.get(key)}" for key in _FIGURES if not float(body.get(key) or 0) > 0)
    for key, pattern in _PATTERNS.items():
        texts = body.get(key) if isinstance(body.get(key), list) else [body.get(key)]
        yield from (f"{key} is {text}" for text in texts or () if not pattern.fullmatch(str(text)))
    if int(body.get("memswap_limit") or -1) != int(body.get("mem_limit") or 0):
        yield "swap beyond memory"
    names = {name for name in body.get("environment") or {} if name.upper().startswith("NVIDIA_")}
    if names - _NVIDIA:
        yield f"variables {sorted(names - _NVIDIA)}"


def _ports(ports: list[Mapping[str, Any]], _volumes: Mapping[str, Any]) -> Iterator[str]:
    for port in ports:
        private = str(port.get("host_ip", "")).startswith(("127.", "10.", "172.", "192.168."))
        if set(port) - _PORT_KEYS or not private or int(port["published"]) < 1024:
            yield f"the port {dict(port)}"


def _volumes(mounts: list[Mapping[str, Any]], volumes: Mapping[str, Any]) -> Iterator[str]:
    for mount in mounts:
        source = str(mount.get("source"))
        if mount.get("type") == "volume" and source in volumes and not mount.get("volume"):
            continue
        roots = any(source == root or source.startswith(f"{root}/") for root in BIND_ROOTS)
        options = mount.get("bind") or {}
        if mount.get("type") != "bind" or not roots or options.get("propagation") != "rprivate":
            yield f"the mount {dict(mount)}"


def _devices(devices: list[Any], _volumes: Mapping[str, Any]) -> Iterator[str]:
    for device in devices:
        parts = [device["source"], device["target"]] if isinstance(device, Mapping) else device.split(":")[:2]
        if parts[0] != parts[1] or not _DEVICE.fullmatch(parts[0]):
            yield f"the device {device}"


def _deploy(deploy: Mapping[str, Any], _volumes: Mapping[str, Any]) -> Iterator[str]:
    resources = deploy.get("resources") or {}
    reserved = (resources.get("reservations") or {}).get("devices") or []
    limits = set(resources.get("limits") or {}) - {"cpus", "memory", "pids"}
    wrong = set(deploy) - {"resources", "placement"} or set(resources) - {"reservations", "limits"} or limits
    if (
        wrong
        or deploy.get("placement")
        or any(set(each) - {"driver", "device_ids", "capabilities"} for each in reserved)
    ):
        yield "deploy"
    if any(each.get("driver") != "nvidia" or "all" in each.get("device_ids", ["all"]) for each in reserved):
        yield "devices that nobody leased"


def _labels(labels: Mapping[str, str], _volumes: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"the label {name}" for name in labels if not name.startswith("ogpu."))


def _networks(networks: Mapping[str, Any], _volumes: Mapping[str, Any]) -> Iterator[str]:
    if set(networks) != {"default"} or set(networks["default"] or ()) - {"aliases"}:
        yield "its networks"


_CHECKS: Mapping[str, Callable[[Any, Mapping[str, Any]], Iterator[str]]] = {
    "ports": _ports,
    "volumes": _volumes,
    "devices": _devices,
    "deploy": _deploy,
    "labels": _labels,
    "networks": _networks,
}
