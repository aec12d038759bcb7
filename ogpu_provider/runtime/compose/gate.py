"""Bytes in, an admitted project out, or every violation with its line.

Steps: read under limits -> replace variables -> copy what is allowed into the model -> check what only the whole
file shows (one service to call, volumes declared, devices that fit the environment).
"""

import hashlib
import re
from dataclasses import replace
from urllib.parse import urlsplit

from ogpu_provider.domain.source import Environment
from ogpu_provider.runtime.compose.document import hidden, parse
from ogpu_provider.runtime.compose.draft import NAME
from ogpu_provider.runtime.compose.interpolation import Variables, interpolate
from ogpu_provider.runtime.compose.model import SERVICE_PORT, Bind, Gpu, Project, Service, Tmpfs, Volume
from ogpu_provider.runtime.compose.names import labels, leads_elsewhere
from ogpu_provider.runtime.compose.policy import REFUSED_TOP, TOP_LEVEL, Limits
from ogpu_provider.runtime.compose.reader import Field, Findings
from ogpu_provider.runtime.compose.service import read_service, refuse_key
from ogpu_provider.runtime.compose.violation import Difference, GateRefused, Violation

DEFAULT_LIMITS = Limits()
_PROJECT = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}")
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
    found = Findings(violations=[*faults, *hidden(text)], waived=waived)
    project = _project(Field(root, "", found, root.line), environment, limits, known)
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
                _name(value)
            case "version":
                value.text()
            case _ if key not in TOP_LEVEL and not key.startswith("x-"):
                refuse_key(value, key, REFUSED_TOP)
    if field.part("services") is field:
        field.refuse("compose.services", "no services")
    if field.found.violations:
        return None
    _ports(field, services, limits, known)
    return _whole(field, tuple(services), volumes, networks, environment, limits)


def _name(field: Field) -> None:
    text = field.text()
    if text is not None and not _PROJECT.fullmatch(text):
        field.refuse("compose.type", f"{text[:60]!r} is not a project's name")
    field.note("the project's name is ours")


def _services(field: Field, limits: Limits, known: dict[str, str]) -> list[Service]:
    """More than are run are not read: a refusal takes no longer for them."""
    services: list[Service] = []
    entries = list(field.entries())
    if not 0 < len(entries) <= limits.services:
        field.refuse("compose.services", f"{len(entries)} services; between 1 and {limits.services} are run")
        return []
    for name, value in entries:
        if not NAME.fullmatch(name):
            value.refuse("compose.type", f"{name[:60]!r} is not a service's name")
            continue
        if name.lower() in {service.name.lower() for service in services}:
            value.refuse("compose.service_name", f"{name[:60]!r} differs from another service's name by case alone")
        if leads_elsewhere(name):
            value.refuse("compose.service_name", f"{name[:60]!r} is a host's name, not a service's")
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
                labels(value)
            elif not _says_nothing(key, value):
                value.refuse("compose.volume", f"{key[:40]} can lead to the host's files or another project's")
    return tuple(names)


def _says_nothing(key: str, value: Field) -> bool:
    """What tools write out although it is so without it."""
    if key == "driver_opts":
        return value.is_mapping and not list(value.entries())
    return key == "external" and not value.is_mapping and value.text() == "false"


def _networks(field: Field) -> tuple[str, ...]:
    names = []
    for name, options in field.entries():
        if not NAME.fullmatch(name):
            options.refuse("compose.type", f"{name[:60]!r} is not a network's name")
        names.append(name)
        options.note("the project has one bridge of its own")
        for key, value in options.entries():
            if key == "driver" and value.text() in (None, "bridge"):
                continue
            if key == "labels":
                labels(value)
                continue
            if key in ("internal", "enable_ipv6"):
                value.flag()
                continue
            if _says_nothing(key, value):
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
    started = _started(services)
    _references(field, started, volumes, networks)
    used = list(dict.fromkeys(volume.name for service in started for volume in service.volumes))
    every = field.part("services")
    if len({bind.source for service in started for bind in service.binds}) > 1:
        every.refuse("compose.bind_mount", "more than one directory of the host")
    if len(used) > limits.volumes:
        every.refuse("compose.too_many_volumes", f"{len(used)} volumes; at most {limits.volumes} are given")
    wanted = _GPU_OF.get(environment, Gpu.NONE)
    for service in started:
        own = every.part(service.name)
        if len(service.tmpfs) > limits.tmpfs_mounts:
            own.part("tmpfs", "volumes").refuse(
                "compose.too_many_volumes", f"more than {limits.tmpfs_mounts} mounts in memory"
            )
        if service.gpu not in (Gpu.NONE, wanted):
            text = f"asks for {service.gpu} in a file for {environment.label}"
            own.part("gpus", "runtime", "devices", "deploy").refuse("compose.gpu_environment", text)
    targets = [service.name for service in started if service.published]
    if len(targets) != 1:
        text = f"{len(targets)} services publish container port {SERVICE_PORT}; the one to call is exactly one"
        every.refuse("compose.target", text)
    needed = max((service.gpu_count for service in started), default=0)
    return Project(started, tuple(used), targets[0] if targets else "", needed)


def _started(services: tuple[Service, ...]) -> tuple[Service, ...]:
    """Without those behind a profile, and without the wish to wait for one of them where it need not be there."""
    names = {service.name for service in services if not service.optional}
    return tuple(
        replace(
            service, depends_on=tuple(each for each in service.depends_on if each.required or each.service in names)
        )
        for service in services
        if not service.optional
    )


def _ports(field: Field, services: list[Service], limits: Limits, known: dict[str, str]) -> None:
    """Fixed ports of the host. That of the callback is ours: whoever held it would get others' results."""
    fixed = [port for service in services if not service.optional for port in service.ports if port.host is not None]
    every = field.part("services")
    if len(fixed) > limits.ports:
        every.refuse("compose.too_many_ports", f"{len(fixed)} fixed host ports; at most {limits.ports} are given")
    if len({(port.host, port.protocol) for port in fixed}) != len(fixed):
        every.refuse("compose.port", "the same host port twice")
    if urlsplit(known["CALLBACK_URL"]).port in {port.host for port in fixed}:
        every.refuse("compose.port", "the host port that results are posted to")


def _references(
    field: Field, services: tuple[Service, ...], volumes: tuple[str, ...], networks: tuple[str, ...]
) -> None:
    names = {service.name for service in services}
    for service in services:
        own = field.part("services").part(service.name)
        for dependency in service.depends_on:
            if dependency.service not in names:
                text = f"depends on {dependency.service[:60]!r}, which is not run"
                own.part("depends_on").refuse("compose.reference", text)
        if service.name in _behind(service, services):
            own.part("depends_on").refuse("compose.reference", "waits for itself", "break the circle of depends_on")
        for volume in service.volumes:
            if volume.name not in volumes and not volume.anonymous:
                text = f"volume {volume.name[:60]!r} is not declared"
                own.part("volumes").refuse("compose.reference", text, "declare it under volumes")
        for network in service.networks:
            if network not in networks:
                text = f"network {network[:60]!r} is not declared"
                own.part("networks").refuse("compose.reference", text)
        others = {name.lower() for name in names - {service.name}}
        for key, taken in (("hostname", {service.hostname}), ("networks", set(service.aliases))):
            if {name.lower() for name in taken} & others:
                own.part(key).refuse("compose.service_name", "takes the name of another service")
        mounts: tuple[Volume | Bind | Tmpfs, ...] = (*service.volumes, *service.binds, *service.tmpfs)
        targets = [mount.target for mount in mounts]
        if len(set(targets)) != len(targets):
            own.part("volumes", "tmpfs").refuse("compose.mount_twice", "mounts twice on the same path")


def _behind(service: Service, services: tuple[Service, ...]) -> set[str]:
    """Every service that has to be there before this one."""
    waits = {each.name: {dependency.service for dependency in each.depends_on} for each in services}
    found: set[str] = set()
    ahead = waits[service.name]
    while ahead:
        found |= ahead
        ahead = set[str]().union(*(waits.get(name, set()) for name in ahead)) - found
    return found
