"""Bytes in, an admitted project out, or every violation with its line.

Steps: read under limits -> replace variables -> copy what is allowed into the model -> check what only the whole
file shows (one service to call, volumes declared, devices that fit the environment).
"""

import hashlib
from urllib.parse import urlsplit

from ogpu_provider.domain.source import Environment
from ogpu_provider.runtime.compose.document import parse
from ogpu_provider.runtime.compose.draft import NAME
from ogpu_provider.runtime.compose.interpolation import Variables, interpolate
from ogpu_provider.runtime.compose.model import SERVICE_PORT, Bind, Gpu, Project, Service, Tmpfs, Volume
from ogpu_provider.runtime.compose.policy import REFUSED_TOP, TOP_LEVEL, Limits
from ogpu_provider.runtime.compose.reader import Field, Findings
from ogpu_provider.runtime.compose.service import read_service, refuse_key
from ogpu_provider.runtime.compose.violation import Difference, GateRefused, Violation

DEFAULT_LIMITS = Limits()
_GPU_OF = {Environment.NVIDIA: Gpu.NVIDIA, Environment.AMD: Gpu.AMD}


def fingerprint(text: bytes) -> str:
    """What identifies an author's file: SHA-256 of its bytes, in hex."""
    return hashlib.sha256(text).hexdigest()


def inspect(
    text: bytes,
    environment: Environment,
    variables: Variables,
    limits: Limits = DEFAULT_LIMITS,
    waived: frozenset[str] = frozenset(),
) -> tuple[Project | None, tuple[Difference, ...], tuple[Violation, ...]]:
    """Everything there is to say about a file; the project is None if there are violations.

    `waived`: codes of rules that the operator lifted for this very file; those that no waiver lifts count for nothing.
    """
    try:
        root = parse(text)
    except GateRefused as refused:
        return None, (), refused.violations
    known = dict(variables.known())
    root, faults = interpolate(root, known)
    found = Findings(violations=list(faults), waived=waived)
    project = _project(Field(root, "", found), environment, limits, known)
    violations = tuple(sorted(found.violations, key=lambda violation: violation.line))
    return None if violations else project, tuple(found.differences), violations


def admit(
    text: bytes,
    environment: Environment,
    variables: Variables,
    limits: Limits = DEFAULT_LIMITS,
    waived: frozenset[str] = frozenset(),
) -> Project:
    """Raises GateRefused with every violation."""
    project, _, violations = inspect(text, environment, variables, limits, waived)
    if violations or project is None:
        raise GateRefused(violations)
    return project


def _project(field: Field, environment: Environment, limits: Limits, known: dict[str, str]) -> Project | None:
    services: list[Service] = []
    volumes: tuple[str, ...] = ()
    networks: tuple[str, ...] = ("default",)
    for key, value in field.entries():
        match key:
            case "services":
                services = _services(value, limits, known)
            case "volumes":
                volumes = _volumes(value)
            case "networks":
                networks += _networks(value)
            case "name":
                value.note("the project's name is ours")
            case _ if key not in TOP_LEVEL and not key.startswith("x-"):
                refuse_key(value, key, REFUSED_TOP)
    if field.found.violations:
        return None
    _ports(field, services, limits, known)
    return _whole(field, tuple(services), volumes, networks, environment, limits)


def _services(field: Field, limits: Limits, known: dict[str, str]) -> list[Service]:
    services: list[Service] = []
    for name, value in field.entries():
        if not NAME.fullmatch(name):
            value.refuse("compose.type", f"{name[:60]!r} is not a service's name")
            continue
        service = read_service(name, value, limits, known)
        if service:
            services.append(service)
    return services


def _volumes(field: Field) -> tuple[str, ...]:
    names = []
    for name, options in field.entries():
        if not NAME.fullmatch(name):
            options.refuse("compose.type", f"{name[:60]!r} is not a volume's name")
        names.append(name)
        for key, value in options.entries():
            if key == "driver" and value.text() in (None, "local"):
                continue
            if key == "labels":
                value.note("labels of the author are left out")
            elif not (key == "driver_opts" and value.is_mapping and not list(value.entries())):
                value.refuse("compose.volume", f"{key[:40]} can lead to the host's files or another project's")
    return tuple(names)


def _networks(field: Field) -> tuple[str, ...]:
    names = []
    for name, options in field.entries():
        names.append(name)
        options.note("the project has one bridge of its own")
        for key, value in options.entries():
            if key == "driver" and value.text() in (None, "bridge"):
                continue
            if key in ("labels", "internal", "enable_ipv6"):
                continue
            value.refuse("compose.network", f"{key[:40]}: networks are the project's own bridge, nothing else")
    return tuple(names)


def _whole(
    field: Field,
    services: tuple[Service, ...],
    volumes: tuple[str, ...],
    networks: tuple[str, ...],
    environment: Environment,
    limits: Limits,
) -> Project:
    started = tuple(service for service in services if not service.optional)
    if not 0 < len(services) <= limits.services:
        field.refuse("compose.services", f"{len(services)} services; between 1 and {limits.services} are run")
    _references(field, started, volumes, networks)
    used = list(dict.fromkeys(volume.name for service in started for volume in service.volumes))
    if len({bind.source for service in started for bind in service.binds}) > 1:
        field.refuse("compose.bind_mount", "more than one directory of the host")
    if len(used) > limits.volumes:
        field.refuse("compose.too_many_volumes", f"{len(used)} volumes; at most {limits.volumes} are given")
    if any(len(service.tmpfs) > limits.tmpfs_mounts for service in started):
        field.refuse("compose.too_many_volumes", f"more than {limits.tmpfs_mounts} mounts in memory")
    wanted = _GPU_OF.get(environment, Gpu.NONE)
    for service in started:
        if service.gpu not in (Gpu.NONE, wanted):
            _at(field, service, "compose.gpu_environment", f"asks for {service.gpu} in a file for {environment.label}")
    targets = [service.name for service in started if service.published]
    if len(targets) != 1:
        text = f"{len(targets)} services publish container port {SERVICE_PORT}; the one to call is exactly one"
        field.refuse("compose.target", text)
    needed = max((service.gpu_count for service in started), default=0)
    return Project(started, tuple(used), targets[0] if targets else "", needed)


def _ports(field: Field, services: list[Service], limits: Limits, known: dict[str, str]) -> None:
    """Fixed ports of the host. That of the callback is ours: whoever held it would get others' results."""
    fixed = [port for service in services if not service.optional for port in service.ports if port.host is not None]
    if len(fixed) > limits.ports:
        field.refuse("compose.too_many_ports", f"{len(fixed)} fixed host ports; at most {limits.ports} are given")
    if len({(port.host, port.protocol) for port in fixed}) != len(fixed):
        field.refuse("compose.port", "the same host port twice")
    if urlsplit(known["CALLBACK_URL"]).port in {port.host for port in fixed}:
        field.refuse("compose.port", "the host port that results are posted to")


def _references(
    field: Field, services: tuple[Service, ...], volumes: tuple[str, ...], networks: tuple[str, ...]
) -> None:
    names = {service.name for service in services}
    for service in services:
        for dependency in service.depends_on:
            if dependency.service not in names:
                _at(field, service, "compose.reference", f"depends on {dependency.service[:60]!r}, which is not run")
        for volume in service.volumes:
            if volume.name not in volumes and not volume.name.startswith("anonymous_"):
                text = f"volume {volume.name[:60]!r} is not declared"
                _at(field, service, "compose.reference", text, "declare it under volumes")
        for network in service.networks:
            if network not in networks:
                _at(field, service, "compose.reference", f"network {network[:60]!r} is not declared")
        others = names - {service.name}
        if {service.hostname, *service.aliases} & others:
            _at(field, service, "compose.service_name", "takes the name of another service")
        mounts: tuple[Volume | Bind | Tmpfs, ...] = (*service.volumes, *service.binds, *service.tmpfs)
        targets = [mount.target for mount in mounts]
        if len(set(targets)) != len(targets):
            _at(field, service, "compose.mount_twice", "mounts twice on the same path")


def _at(field: Field, service: Service, code: str, message: str, remedy: str = "") -> None:
    field.found.violations.append(Violation(code, f"services.{service.name}", service.line, message, remedy))
