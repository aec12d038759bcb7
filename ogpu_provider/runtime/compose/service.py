"""One service: each allowed key has a reader here, every other key is refused."""

import re
from collections.abc import Mapping
from pathlib import PurePosixPath

from ogpu_provider.domain.addresses import may_be_public
from ogpu_provider.runtime.compose import figures, life, mounts, names, ports
from ogpu_provider.runtime.compose.draft import Draft, Reader, matching, must_be, noted, take
from ogpu_provider.runtime.compose.interpolation import asks_for_secret
from ogpu_provider.runtime.compose.model import Bind, Service, Tmpfs, Volume
from ogpu_provider.runtime.compose.policy import LOG_DRIVERS, REFUSED, Limits, chooses_devices
from ogpu_provider.runtime.compose.quantities import Image
from ogpu_provider.runtime.compose.reader import Field

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]{0,127}")
_USER = re.compile(r"[A-Za-z0-9_.\-]{1,64}(?::[A-Za-z0-9_.\-]{1,64})?")
_SIGNALS = (
    *("ABRT", "ALRM", "BUS", "CHLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "KILL", "PIPE", "POLL", "PROF", "PWR"),
    *("QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU", "URG", "USR1", "USR2"),
    *("VTALRM", "WINCH", "XCPU", "XFSZ"),
)
_PLATFORM = re.compile(r"linux(?:/[a-z0-9]+){0,2}")
_SIGNAL = re.compile(rf"(?:SIG)?(?:{'|'.join(_SIGNALS)}|RTM(?:IN|AX)(?:[+-][0-9]{{1,2}})?)|[1-9]|[1-5][0-9]|6[0-4]")


def read_service(name: str, at: Field, limits: Limits, known: dict[str, str]) -> Service | None:
    """None if there is no image to run; what speaks against the service is in `at.found`."""
    draft = Draft(name, limits, known)
    for key, value in at.entries():
        if key in _READERS:
            _READERS[key](draft, value)
        elif not key.startswith("x-"):
            refuse_key(value, key, REFUSED)
    if "image" not in draft.values:
        if not any(violation.key == f"{at.path}.image" for violation in at.found.violations):
            at.refuse("compose.image", "no image")
        return None
    kind, count = draft.gpu
    return Service(name=name, line=at.line, gpu=kind, gpu_count=count, **draft.values)


def refuse_key(at: Field, key: str, table: Mapping[str, str]) -> None:
    if key in table:
        at.refuse(f"compose.{key}", f"{key} {table[key]}")
    else:
        at.refuse("compose.unknown_key", f"{key[:60]!r} is not on the list of keys that are run")


def _image(draft: Draft, at: Field) -> None:
    image = at.parsed(Image.parse, "compose.image")
    if image and image.registry and not (draft.limits.private_registries or may_be_public(image.registry)):
        at.refuse("compose.image_registry", f"{image.registry[:80]} is not a registry on the internet")
    elif image and not _is_open(image, draft.limits):
        place = f"{image.registry[:80]}:{image.port}"
        at.refuse(
            "compose.image_registry",
            f"{place} is at another port than registries are",
            f"if you trust it: images.registries = [{place}], or `compose check --registry {place}`",
        )
    elif image:
        draft.values["image"] = image
        if not image.digest:
            at.note("pinned to the digest that the registry names when the project is started")


def _is_open(image: Image, limits: Limits) -> bool:
    """Whether its registry is at a usual port, or at one that the operator lists."""
    usual = image.port in (None, 80, 443) or limits.private_registries
    return usual or f"{image.registry.lower()}:{image.port}" in limits.registries


def _environment(draft: Draft, at: Field) -> None:
    found: dict[str, str] = {}
    for name, where, value in at.pairs():
        if not _VARIABLE.fullmatch(name):
            where.refuse("compose.type", f"{name[:60]!r} is not a variable's name")
        elif chooses_devices(name):
            where.note(f"{name} is set by us: it chooses devices")
        elif value is None and asks_for_secret(name):
            where.refuse("compose.secret", f"asks for {name}; a source never gets the operator's key")
        elif value is None and name not in draft.known:
            where.refuse("compose.environment_name", f"{name} without a value would be read from the host")
        else:
            found[name] = draft.known[name] if value is None else value
    draft.values["environment"] = tuple(found.items())


def _working_dir(draft: Draft, at: Field) -> None:
    text = at.text()
    if text is None:
        return
    path = PurePosixPath(text)
    if not path.is_absolute() or ".." in path.parts or len(text) > 512:
        at.refuse("compose.type", f"{text[:80]!r} is not an absolute path")
    elif path.parts[1:2] in (("proc",), ("sys",), ("dev",)):
        at.refuse("compose.working_dir", f"{text[:80]!r} can be a door that the engine left open")
    else:
        draft.values["working_dir"] = text


def _volumes(draft: Draft, at: Field) -> None:
    found = mounts.volumes(at, draft.name, draft.limits)
    draft.values["volumes"] = tuple(mount for mount in found if isinstance(mount, Volume))
    draft.values["binds"] = tuple(mount for mount in found if isinstance(mount, Bind))
    memory = tuple(mount for mount in found if isinstance(mount, Tmpfs))
    draft.values["tmpfs"] = draft.values.get("tmpfs", ()) + memory


def _tmpfs(draft: Draft, at: Field) -> None:
    draft.values["tmpfs"] = draft.values.get("tmpfs", ()) + mounts.tmpfs(at, draft.limits)


def _ipc(_draft: Draft, at: Field) -> None:
    if at.text() == "private":
        at.waived("compose.ipc_private", "ipc is the project's own either way")
    elif not at.null:
        at.refuse("compose.ipc", "ipc shares memory with others")


def _logging(_draft: Draft, at: Field) -> None:
    for key, value in at.entries():
        if key == "driver":
            if value.text() not in LOG_DRIVERS:
                value.refuse("compose.logging", "logs stay on this host, in json-file or local")
        elif key == "options":
            value.note("logs are kept in 3 files of 10 MB")
        else:
            value.refuse("compose.unknown_key", "not part of logging")


def _security_opt(_draft: Draft, at: Field) -> None:
    for place, text in at.each():
        if text.replace("=", ":") not in ("no-new-privileges", "no-new-privileges:true"):
            message = f"{text[:60]!r} weakens the container; only no-new-privileges is given"
            place.refuse("compose.security_opt", message)


_READERS: dict[str, Reader] = {
    "image": _image,
    "command": take("command", Field.words),
    "entrypoint": take("entrypoint", Field.words),
    "environment": _environment,
    "working_dir": _working_dir,
    "user": take("user", matching(_USER, "a user")),
    "hostname": names.hostname,
    "platform": take("platform", matching(_PLATFORM, "a platform")),
    "expose": take("expose", ports.expose),
    "ports": take("ports", ports.ports),
    "volumes": _volumes,
    "tmpfs": _tmpfs,
    "depends_on": life.depends_on,
    "networks": names.networks,
    "network_mode": names.network_mode,
    "ipc": _ipc,
    "healthcheck": life.healthcheck,
    "restart": life.restart,
    "read_only": take("read_only", Field.flag),
    "stop_signal": take("stop_signal", matching(_SIGNAL, "a signal")),
    "stop_grace_period": life.stop_grace,
    "tty": take("tty", Field.flag),
    "stdin_open": take("stdin_open", Field.flag),
    "attach": noted("nothing is attached: projects run in the background", Field.flag),
    "init": noted("every container has an init", Field.flag),
    "pull_policy": noted("images are pulled by digest before the start", Field.text),
    "pull_refresh_after": noted("images are pulled by digest before the start", Field.text),
    "cap_drop": noted("every capability is dropped", Field.texts),
    "profiles": life.profiles,
    "labels": lambda _draft, at: names.labels(at),
    "extra_hosts": names.extra_hosts,
    "logging": _logging,
    "security_opt": _security_opt,
    "privileged": must_be(False, "compose.privileged", "privileged is root on the host"),
    "oom_kill_disable": must_be(False, "compose.oom_kill_disable", "a container must be killable when memory runs out"),
    "scale": figures.one,
    "deploy": figures.deploy,
    "gpus": figures.gpus,
    "runtime": figures.runtime,
    "devices": figures.amd,
    "mem_limit": figures.memory,
    "mem_reservation": noted("memory is limited, not reserved", Field.text),
    "cpus": figures.cpus,
    "pids_limit": figures.pids,
    "shm_size": figures.shm,
}
