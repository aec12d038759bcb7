"""Our own compose document for an admitted project: what the author may choose, inside what we always set.

Always: images by digest, no capabilities, no new privileges, limits on memory, processors and processes, bounded
logs and restarts, an init, our labels, one bridge of our own, named volumes of our own, exactly the leased devices.
The root file system stays writable unless the author says otherwise: published images write to it. Dropping every
capability breaks images that chown files as root at their start; that is accepted.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ogpu_provider.domain.resources import Device
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.units import Address
from ogpu_provider.runtime.compose.interpolation import Variables
from ogpu_provider.runtime.compose.model import SERVICE_PORT, Gpu, Healthcheck, Project, Service
from ogpu_provider.runtime.compose.policy import HOST_GATEWAY, Limits
from ogpu_provider.runtime.compose.quantities import milliseconds
from ogpu_provider.runtime.egress.rules import bridge_name
from ogpu_provider.runtime.isolation import Isolation

INSTANCE = "ogpu.instance"
SOURCE = "ogpu.source"
SHA256 = "ogpu.compose_sha256"
ENVIRONMENT = "ogpu.environment"
DEVICES = "ogpu.devices"
PORT = "ogpu.port"
ISOLATION = "ogpu.isolation"
TARGET = "ogpu.target"
BRIDGE_OPTION = "com.docker.network.bridge.name"
_NODE = re.compile(r"/dev/kfd|/dev/dri/renderD\d{1,3}")


@dataclass(frozen=True, slots=True)
class Grant:
    """What a project gets from us. `images` maps the author's reference to the pinned one.

    `dispatch_host` is where the target's port is bound (only this host calls it), `gateway` the address of the
    engine's bridge, under which containers reach the host.
    """

    instance: str
    source: Address
    environment: Environment
    compose_sha256: str
    variables: Variables
    images: Mapping[str, str]
    dispatch_host: str
    gateway: str
    devices: tuple[Device, ...] = ()
    limits: Limits = field(default_factory=Limits)
    isolation: Isolation = Isolation.HARDENED

    @property
    def project(self) -> str:
        return project_name(self.instance, self.source)

    @property
    def labels(self) -> dict[str, str]:
        return {
            INSTANCE: self.instance,
            SOURCE: self.source,
            SHA256: self.compose_sha256,
            ENVIRONMENT: self.environment.label,
            DEVICES: ",".join(device.id for device in self.devices),
            PORT: str(self.variables.port),
            ISOLATION: self.isolation.value,
        }


@dataclass(frozen=True, slots=True)
class Plan:
    """A document for the compose command, and what each of its containers must turn out to be."""

    name: str
    target: str
    document: dict[str, Any]

    @property
    def text(self) -> bytes:
        """The file to write. Dollar signs are doubled: nothing in it is a variable any more."""
        return json.dumps(_escaped(self.document), indent=2, ensure_ascii=False).encode()

    @property
    def services(self) -> dict[str, dict[str, Any]]:
        services: dict[str, dict[str, Any]] = self.document["services"]
        return services


def project_name(instance: str, source: Address) -> str:
    """Unique for each source and daemon, so that two daemons on one engine do not meet."""
    return f"ogpu-{instance}-{source.removeprefix('0x').lower()}"


def render(project: Project, grant: Grant) -> Plan:
    """Raises ValueError if fewer devices are leased than the project needs: the caller's mistake."""
    if len(grant.devices) < project.devices:
        raise ValueError(f"{project.devices} devices needed, {len(grant.devices)} leased")
    labels = grant.labels
    document: dict[str, Any] = {
        "name": grant.project,
        "services": {service.name: _service(service, project, grant) for service in project.services},
        "networks": {"default": _network(grant)},
    }
    if project.volumes:
        kept = {name: labels[name] for name in (INSTANCE, SOURCE)}  # a volume outlives this start: nothing of it
        document["volumes"] = {name: {"name": f"{grant.project}_{name}", "labels": kept} for name in project.volumes}
    return Plan(grant.project, project.target, document)


def _network(grant: Grant) -> dict[str, Any]:
    """The bridge has a name that is known beforehand: egress rules for it stand before it does."""
    options = {BRIDGE_OPTION: bridge_name(grant.instance, grant.source)}
    return {"driver": "bridge", "enable_ipv6": False, "driver_opts": options, "labels": grant.labels}


def _service(service: Service, project: Project, grant: Grant) -> dict[str, Any]:
    limits = grant.limits
    memory = min(service.memory or limits.memory, limits.memory)
    target = service.name == project.target
    out: dict[str, Any] = {
        "image": grant.images[str(service.image)],
        "pull_policy": "never",
        "init": True,
        "runtime": grant.isolation.runtime or None,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "mem_limit": memory,
        "memswap_limit": memory,
        "cpus": min(service.cpus or limits.cpus, limits.cpus),
        "pids_limit": min(service.pids or limits.pids, limits.pids),
        "ulimits": {"core": 0},
        "logging": {"driver": "local", "options": {"max-size": "10m", "max-file": "3"}},
        "restart": f"on-failure:{service.retries}" if service.retries else "no",
        "stop_grace_period": milliseconds(min(service.stop_grace, limits.stop_grace)),
        "labels": {**grant.labels, TARGET: "yes" if target else "no"},
        "extra_hosts": [f"{HOST_GATEWAY}:{grant.gateway}"],
        "networks": {"default": {"aliases": list(service.aliases)} if service.aliases else {}},
        "environment": _environment(service, grant, target=target),
        "ports": _ports(service, grant),
    }
    out.update(_copied(service, memory))
    out.update(_gpu(service, grant))
    return {key: value for key, value in out.items() if value not in (None, [], ())}


def _copied(service: Service, memory: int) -> dict[str, Any]:
    """What the author alone decides; left out where nothing was said. Shared memory is memory: never more of it."""
    out: dict[str, Any] = {
        "command": _words(service.command),
        "entrypoint": _words(service.entrypoint),
        "working_dir": service.working_dir or None,
        "user": service.user or None,
        "hostname": service.hostname or None,
        "platform": service.platform or None,
        "expose": list(service.expose),
        "read_only": service.read_only or None,
        "stop_signal": service.stop_signal or None,
        "tty": service.tty or None,
        "stdin_open": service.stdin_open or None,
        "shm_size": min(service.shm, memory) if service.shm else None,
        "healthcheck": _healthcheck(service.healthcheck),
        "volumes": [
            {"type": "volume", "source": volume.name, "target": volume.target, "read_only": volume.read_only}
            for volume in service.volumes
        ]
        + [
            {
                "type": "bind",
                "source": bind.source,
                "target": bind.target,
                "read_only": bind.read_only,
                "bind": {"create_host_path": False, "propagation": "rprivate"},
            }
            for bind in service.binds
        ],
        "tmpfs": [
            f"{mount.target}:size={mount.size}{f',mode={mount.mode}' if mount.mode else ''}" for mount in service.tmpfs
        ],
    }
    if service.depends_on:
        out["depends_on"] = {each.service: {"condition": each.condition} for each in service.depends_on}
    return {key: value for key, value in out.items() if value not in (None, [])}


def _environment(service: Service, grant: Grant, *, target: bool) -> dict[str, str]:
    """The author's variables, the service contract's where the author left them out, and the device choice."""
    contract = {}
    if target:
        known = grant.variables.known()
        names = ("CALLBACK_URL", "CALLBACK_ADDRESS", "SOURCE_ADDRESS", "PROVIDER_ADDRESS")
        contract = {name: known[name] for name in names}
    chosen = {"NVIDIA_VISIBLE_DEVICES": "void"}
    if service.gpu is Gpu.NVIDIA:
        ids = ",".join(device.id for device in grant.devices[: service.gpu_count])
        chosen = {"NVIDIA_VISIBLE_DEVICES": ids, "NVIDIA_DRIVER_CAPABILITIES": "compute,utility"}
    return {**contract, **dict(service.environment), **chosen}


def _ports(service: Service, grant: Grant) -> list[dict[str, Any]]:
    found = []
    for port in service.ports:
        called = port.container == SERVICE_PORT and port.protocol == "tcp"
        published = grant.variables.port if called else port.host
        found.append(
            {
                "target": port.container,
                "published": str(published),
                "protocol": port.protocol,
                "mode": "host",
                "host_ip": grant.dispatch_host if called else grant.gateway,
            }
        )
    return found


def _gpu(service: Service, grant: Grant) -> dict[str, Any]:
    devices = grant.devices[: service.gpu_count]
    if service.gpu is Gpu.NVIDIA:
        ids = [device.id for device in devices]
        reservation = {"driver": "nvidia", "device_ids": ids, "capabilities": ["gpu", "compute", "utility"]}
        return {"deploy": {"resources": {"reservations": {"devices": [reservation]}}}}
    if service.gpu is Gpu.AMD:
        nodes = dict.fromkeys(node for device in devices for node in device.nodes)
        if not nodes or not all(_NODE.fullmatch(node) for node in nodes):
            raise ValueError(f"the leased AMD devices have unusable nodes: {', '.join(nodes) or 'none'}")
        return {"devices": [f"{node}:{node}:rwm" for node in nodes]}
    return {}


def _healthcheck(check: Healthcheck | None) -> dict[str, Any] | None:
    if check is None:
        return None
    if not check.test:
        return {"disable": True}
    return {
        "test": list(check.test),
        "interval": milliseconds(check.interval),
        "timeout": milliseconds(check.timeout),
        "retries": check.retries,
        "start_period": milliseconds(check.start_period),
    }


def _words(words: str | tuple[str, ...] | None) -> str | list[str] | None:
    return list(words) if isinstance(words, tuple) else words


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, dict):
        return {key: _escaped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_escaped(item) for item in value]
    return value
