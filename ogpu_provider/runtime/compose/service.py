"""One service: each allowed key has a reader here, every other key is refused."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from ogpu_provider.runtime.compose import devices, mounts, ports, quantities
from ogpu_provider.runtime.compose.interpolation import asks_for_secret
from ogpu_provider.runtime.compose.model import Bind, Dependency, Gpu, Healthcheck, Service, Tmpfs, Volume
from ogpu_provider.runtime.compose.policy import (
    CONDITIONS,
    FORBIDDEN_LABELS,
    HOST_GATEWAY,
    LOG_DRIVERS,
    REFUSED,
    STRIPPED,
    Limits,
)
from ogpu_provider.runtime.compose.quantities import Image
from ogpu_provider.runtime.compose.reader import Field

Values = dict[str, Any]
Reader = Callable[["ServiceReader", Field], None]
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]{0,127}")
_USER = re.compile(r"[A-Za-z0-9_.\-]{1,64}(?::[A-Za-z0-9_.\-]{1,64})?")
_HOSTNAME = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?")
_PLATFORM = re.compile(r"linux(?:/[a-z0-9]+){0,2}")
_SIGNAL = re.compile(r"SIG[A-Z0-9+\-]{1,12}|\d{1,2}")
NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}")


class ServiceReader:
    """Collects the values of one service."""

    def __init__(self, name: str, limits: Limits, known: dict[str, str]) -> None:
        self.values: Values = {"name": name}
        self.limits = limits
        self.known = known
        self.gpu: devices.Need = devices.NOTHING

    def read(self, field: Field) -> Service | None:
        for key, value in field.entries():
            if key in _READERS:
                _READERS[key](self, value)
            elif not key.startswith("x-"):
                refuse_key(value, key, REFUSED)
        if "image" not in self.values:
            if not any(v.key == f"{field.path}.image" for v in field.found.violations):
                field.refuse("compose.image", "no image")
            return None
        self.values["gpu"], self.values["gpu_count"] = self.gpu
        return Service(line=field.line, **self.values)


def refuse_key(field: Field, key: str, table: Mapping[str, str]) -> None:
    if key in table:
        field.refuse(f"compose.{key}", f"{key} {table[key]}")
    else:
        field.refuse("compose.unknown_key", f"{key[:60]!r} is not on the list of keys that are run")


def _image(reader: ServiceReader, field: Field) -> None:
    image = field.parsed(Image.parse, "compose.image")
    if image:
        reader.values["image"] = image
        if not image.digest:
            field.note("pinned to the digest that the registry names when the project is started")


def _take(name: str, read: Callable[[Field], Any]) -> Reader:
    """A key whose value is kept as it was read; null leaves the default."""

    def take(reader: ServiceReader, field: Field) -> None:
        value = read(field)
        if value is not None:
            reader.values[name] = value

    return take


def _matching(pattern: re.Pattern[str], what: str, code: str = "compose.type") -> Callable[[Field], str | None]:
    def read(field: Field) -> str | None:
        text = field.text()
        if text is not None and not pattern.fullmatch(text):
            field.refuse(code, f"{text[:60]!r} is not {what}")
            return None
        return text

    return read


def _environment(reader: ServiceReader, field: Field) -> None:
    found: dict[str, str] = {}
    for name, at, value in field.pairs():
        if not _VARIABLE.fullmatch(name):
            at.refuse("compose.type", f"{name[:60]!r} is not a variable's name")
        elif name.upper().startswith(STRIPPED):
            at.note(f"{name} is set by us: it chooses devices")
        elif value is None and asks_for_secret(name):
            at.refuse("compose.secret", f"asks for {name}; a source never gets the operator's key")
        elif value is None and name not in reader.known:
            at.refuse("compose.environment_name", f"{name} without a value would be read from the host")
        else:
            found[name] = reader.known[name] if value is None else value
    reader.values["environment"] = tuple(found.items())


def _volumes(reader: ServiceReader, field: Field) -> None:
    found = mounts.volumes(field, str(reader.values["name"]), reader.limits)
    reader.values["volumes"] = tuple(mount for mount in found if isinstance(mount, Volume))
    reader.values["binds"] = tuple(mount for mount in found if isinstance(mount, Bind))
    memory = tuple(mount for mount in found if isinstance(mount, Tmpfs))
    reader.values["tmpfs"] = reader.values.get("tmpfs", ()) + memory


def _tmpfs(reader: ServiceReader, field: Field) -> None:
    reader.values["tmpfs"] = reader.values.get("tmpfs", ()) + mounts.tmpfs(field, reader.limits)


def _depends_on(reader: ServiceReader, field: Field) -> None:
    found: list[Dependency] = []
    if field.is_list:
        found = [Dependency(name) for name in field.texts()]
    else:
        for name, options in field.entries():
            condition = "service_started"
            for key, value in options.entries():
                if key == "condition":
                    condition = value.text() or condition
                    if condition not in CONDITIONS:
                        value.refuse("compose.type", f"{condition[:40]!r} is not a condition")
                elif key in ("restart", "required"):
                    value.flag()
                else:
                    value.refuse("compose.unknown_key", "not part of a dependency")
            found.append(Dependency(name, condition))
    reader.values["depends_on"] = tuple(found)


def _networks(reader: ServiceReader, field: Field) -> None:
    if field.is_list:
        reader.values["networks"] = field.texts()
        return
    aliases: list[str] = []
    names: list[str] = []
    for name, options in field.entries():
        names.append(name)
        for key, value in options.entries():
            if key == "aliases":
                aliases += (alias for alias in value.texts() if NAME.fullmatch(alias))
            elif key in ("priority", "gw_priority"):
                value.number()
            else:
                value.refuse("compose.network", "addresses on the network are ours to give")
    reader.values["networks"] = tuple(names)
    reader.values["aliases"] = tuple(aliases)


def _network_mode(_reader: ServiceReader, field: Field) -> None:
    if field.text() == "bridge":
        field.note("on the project's own bridge")
    elif not field.null:
        field.refuse("compose.network_mode", "network_mode leaves the project's own network")


def _ipc(_reader: ServiceReader, field: Field) -> None:
    if field.text() == "private":
        field.waived("compose.ipc_private", "ipc is the project's own either way")
    elif not field.null:
        field.refuse("compose.ipc", "ipc shares memory with others")


def _healthcheck(reader: ServiceReader, field: Field) -> None:
    test: tuple[str, ...] = ()
    times = {"interval": 30.0, "timeout": 30.0, "start_period": 0.0}
    retries, off = 3, False
    for key, value in field.entries():
        match key:
            case "test":
                words = value.words()
                test = ("CMD-SHELL", words) if isinstance(words, str) else words or ()
            case "interval" | "timeout" | "start_period":
                seconds = value.parsed(quantities.duration)
                times[key] = min(max(seconds or 0.0, 0.0), 3600.0) if seconds else times[key]
            case "start_interval":
                value.parsed(quantities.duration)
            case "retries":
                retries = min(max(value.number() or 3, 1), 100)
            case "disable":
                off = bool(value.flag())
            case _:
                value.refuse("compose.unknown_key", "not part of a healthcheck")
    if test and test[0] not in ("CMD", "CMD-SHELL", "NONE"):
        field.refuse("compose.type", "a test starts with CMD, CMD-SHELL or NONE")
    if off or test[:1] == ("NONE",):
        test = ()
    times["interval"] = max(times["interval"], 1.0)
    if test or off:
        reader.values["healthcheck"] = Healthcheck(test, retries=retries, **times)


def _restart(reader: ServiceReader, field: Field) -> None:
    policy, _, count = (field.text() or "no").partition(":")
    if policy == "always":
        field.refuse("compose.restart", "restart: always restarts a broken container for ever")
    elif policy == "unless-stopped":
        field.note("on-failure, at most 3 times")
        reader.values["retries"] = 3
    elif policy == "on-failure":
        wanted = int(count) if count.isdigit() and len(count) < 6 else reader.limits.retries
        reader.values["retries"] = min(wanted, reader.limits.retries)
    elif policy not in ("no", "false"):
        field.refuse("compose.type", f"{policy[:40]!r} is not a restart policy")


def _labels(_reader: ServiceReader, field: Field) -> None:
    for name, at, _value in field.pairs():
        if name.lower().startswith(FORBIDDEN_LABELS):
            at.refuse("compose.label", f"the label {name[:60]} speaks for somebody else")
    field.note("labels of the author are left out: other programs on the host act on labels")


def _extra_hosts(_reader: ServiceReader, field: Field) -> None:
    pairs = (
        [(name, value.text() or "", value) for name, value in field.entries()]
        if field.is_mapping
        else [(*re.split(r"[:=]", item.text() or "", maxsplit=1), item) for item in field.items()]
    )
    for pair in pairs:
        if pair[:-1] != (HOST_GATEWAY, "host-gateway"):
            name = str(pair[0])[:60]
            field.refuse("compose.extra_hosts", f"{name!r}: only {HOST_GATEWAY}:host-gateway is given")


def _logging(_reader: ServiceReader, field: Field) -> None:
    for key, value in field.entries():
        if key == "driver":
            if value.text() not in LOG_DRIVERS:
                value.refuse("compose.logging", "logs stay on this host, in json-file or local")
        elif key == "options":
            value.note("logs are kept in 3 files of 10 MB")
        else:
            value.refuse("compose.unknown_key", "not part of logging")


def _security_opt(_reader: ServiceReader, field: Field) -> None:
    for text in field.texts():
        if text.replace("=", ":") not in ("no-new-privileges", "no-new-privileges:true"):
            field.refuse(
                "compose.security_opt", f"{text[:60]!r} weakens the container; only no-new-privileges is given"
            )


def _gpu(spelling: Callable[[Field, Limits], devices.Need]) -> Reader:
    def read(reader: ServiceReader, field: Field) -> None:
        need = spelling(field, reader.limits)
        if {reader.gpu[0], need[0]} == {Gpu.NVIDIA, Gpu.AMD}:
            field.refuse("compose.gpu", "asks for NVIDIA and AMD devices at once")
        reader.gpu = devices.merge(reader.gpu, need)

    return read


def _capped(name: str, ceiling: Callable[[Limits], float], *, size: bool, hard: bool = False) -> Reader:
    """A resource figure: the lower one of the author's and ours; `hard` refuses instead."""

    def read(reader: ServiceReader, field: Field) -> None:
        value: float | None = field.parsed(quantities.size) if size else field.decimal()
        if value is None:
            return
        limit = ceiling(reader.limits)
        if value <= 0:
            field.refuse("compose.figure", f"{value:g}; above 0 and at most {limit:g}")
        elif hard and value > limit:
            if field.waived("compose.shm_size", f"{value:g}; at most {limit:g}"):
                limit = reader.limits.memory
        elif value > limit:
            field.note(f"{limit:g}, which is the most that is given")
        before = reader.values.get(name)
        value = min(value, limit) if before is None else min(value, limit, before)
        reader.values[name] = value if name == "cpus" else int(value)

    return read


def _deploy(reader: ServiceReader, field: Field) -> None:
    for key, value in field.entries():
        match key:
            case "resources":
                _resources(reader, value)
            case "replicas":
                _one(reader, value)
            case "restart_policy":
                value.note("restarts follow restart:, not deploy")
            case _:
                value.refuse("compose.deploy", f"deploy.{key[:40]} is for clusters")


def _resources(reader: ServiceReader, field: Field) -> None:
    for part, limits in field.entries():
        if part not in ("limits", "reservations"):
            limits.refuse("compose.unknown_key", "not part of resources")
            continue
        for key, value in limits.entries():
            if key == "devices" and part == "reservations":
                _READERS["gpus"](reader, value)
            elif key not in _LIMITS:
                value.refuse("compose.unknown_key", f"not part of {part}")
            elif part == "limits":
                _LIMITS[key](reader, value)
            else:
                value.note("memory and processors are limited, not reserved")


def _one(_reader: ServiceReader, field: Field) -> None:
    if field.number() not in (None, 1):
        field.refuse("compose.replicas", "one container for each service")


def _must_be(wanted: bool, code: str, message: str) -> Reader:
    def read(_reader: ServiceReader, field: Field) -> None:
        if field.flag() not in (None, wanted):
            field.refuse(code, message)

    return read


def _stop_grace(reader: ServiceReader, field: Field) -> None:
    seconds = field.parsed(quantities.duration)
    if seconds is not None:
        reader.values["stop_grace"] = min(seconds, reader.limits.stop_grace)


def _noted(message: str) -> Reader:
    return lambda _reader, field: field.note(message)


def _profiles(reader: ServiceReader, field: Field) -> None:
    if field.texts():
        field.note("a service behind a profile is not started")
        reader.values["optional"] = True


_MEMORY = _capped("memory", lambda limits: limits.memory, size=True)
_CPUS = _capped("cpus", lambda limits: limits.cpus, size=False)
_PIDS = _capped("pids", lambda limits: limits.pids, size=False)
_LIMITS: dict[str, Reader] = {"memory": _MEMORY, "cpus": _CPUS, "pids": _PIDS}
_READERS: dict[str, Reader] = {
    "image": _image,
    "command": _take("command", Field.words),
    "entrypoint": _take("entrypoint", Field.words),
    "environment": _environment,
    "working_dir": _take("working_dir", Field.text),
    "user": _take("user", _matching(_USER, "a user")),
    "hostname": _take("hostname", _matching(_HOSTNAME, "a host name")),
    "platform": _take("platform", _matching(_PLATFORM, "a platform")),
    "expose": _take("expose", ports.expose),
    "ports": _take("ports", ports.ports),
    "volumes": _volumes,
    "tmpfs": _tmpfs,
    "depends_on": _depends_on,
    "networks": _networks,
    "network_mode": _network_mode,
    "ipc": _ipc,
    "healthcheck": _healthcheck,
    "restart": _restart,
    "read_only": _take("read_only", Field.flag),
    "stop_signal": _take("stop_signal", _matching(_SIGNAL, "a signal")),
    "stop_grace_period": _stop_grace,
    "tty": _take("tty", Field.flag),
    "stdin_open": _take("stdin_open", Field.flag),
    "attach": _noted("nothing is attached: projects run in the background"),
    "init": _noted("every container has an init"),
    "pull_policy": _noted("images are pulled by digest before the start"),
    "cap_drop": _noted("every capability is dropped"),
    "profiles": _profiles,
    "labels": _labels,
    "extra_hosts": _extra_hosts,
    "logging": _logging,
    "security_opt": _security_opt,
    "privileged": _must_be(False, "compose.privileged", "privileged is root on the host"),
    "oom_kill_disable": _must_be(
        False, "compose.oom_kill_disable", "a container must be killable when memory runs out"
    ),
    "scale": _one,
    "deploy": _deploy,
    "gpus": _gpu(devices.gpus),
    "runtime": _gpu(lambda field, _limits: devices.runtime(field)),
    "devices": _gpu(lambda field, _limits: devices.amd(field)),
    "mem_limit": _MEMORY,
    "mem_reservation": _noted("memory is limited, not reserved"),
    "cpus": _CPUS,
    "pids_limit": _PIDS,
    "shm_size": _capped("shm", lambda limits: limits.shm, size=True, hard=True),
}
