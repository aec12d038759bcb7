"""Volumes and tmpfs of a service: named volumes of the project, and memory with a size. Never the host's files."""

import hashlib
import re
from pathlib import PurePosixPath

from ogpu_provider.runtime.compose import quantities
from ogpu_provider.runtime.compose.model import Bind, Tmpfs, Volume
from ogpu_provider.runtime.compose.policy import BIND_ROOTS, FORBIDDEN_TARGETS, Limits
from ogpu_provider.runtime.compose.reader import Field

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_DRIVE = re.compile(r"[A-Za-z]:\\")
_MODES = frozenset({"ro", "rw", "z", "Z", "nocopy", "cached", "delegated", "consistent"})
_HOST = "only named volumes are mounted; a path of the host never is"
_Mount = Volume | Bind | Tmpfs


def volumes(field: Field, service: str, limits: Limits) -> tuple[_Mount, ...]:
    found = (_long(item, service, limits) if item.is_mapping else _short(item, service) for item in field.items())
    return tuple(mount for mount in found if mount is not None)


def tmpfs(field: Field, limits: Limits) -> tuple[Tmpfs, ...]:
    """`/path` or `/path:size=64m,mode=1777`; without a size it gets the most that is allowed."""
    found: list[Tmpfs] = []
    for item, text in field.each():
        written, _, options = text.partition(":")
        size, mode = limits.tmpfs, ""
        for option in filter(None, options.split(",")):
            name, _, value = option.partition("=")
            if name == "size":
                size = _size(item, value, limits)
            elif name == "mode" and re.fullmatch(r"[0-7]{3,4}", value):
                mode = value
            elif name not in ("rw", "noexec", "nosuid", "nodev"):
                item.refuse("compose.type", f"the tmpfs option {option[:40]!r} is not known")
        target = _target(item, written)
        if target:
            found.append(Tmpfs(target, size, mode))
    return tuple(found)


def _target(field: Field, target: str) -> str:
    """The path as the engine will say it; empty where nothing may be mounted on it."""
    path = PurePosixPath(target)
    bad = not path.is_absolute() or ".." in path.parts or str(path) == "/" or ":" in target or "," in target
    bad = bad or not target.isprintable()
    if bad or len(target) > 512:
        field.refuse("compose.type", f"{target[:80]!r} is not an absolute path below / to mount on")
        return ""
    clean = "/" + str(path).lstrip("/")
    if any(clean == root or clean.startswith(f"{root}/") for root in FORBIDDEN_TARGETS):
        field.refuse("compose.mount_target", f"{clean} in the container belongs to the engine")
        return ""
    return clean


def _short(item: Field, service: str) -> Volume | Bind | None:
    text = item.text()
    if text is None:
        return None
    parts = text.split(":")
    if len(parts) == 1 and text.startswith("/"):
        target = _target(item, text)
        return Volume(_anonymous(service, target), target, anonymous=True) if target else None
    if len(parts) not in (2, 3) or _DRIVE.match(text):
        if _NAME.fullmatch(parts[0]) and not _DRIVE.match(text):
            item.refuse("compose.type", f"{text[:80]!r} is not name:target[:mode]")
        else:
            item.refuse("compose.bind_mount", _HOST)
        return None
    modes = set(parts[2].split(",")) if len(parts) == 3 else set()
    if modes - _MODES:
        item.refuse("compose.mount_option", f"the mount option {', '.join(sorted(modes - _MODES))[:60]} is not given")
    if not _NAME.fullmatch(parts[0]):
        return _bind(item, parts[0], parts[1], read_only="ro" in modes)
    target = _target(item, parts[1])
    return Volume(parts[0], target, "ro" in modes) if target else None


def _bind(item: Field, source: str, target: str, *, read_only: bool) -> Bind | None:
    """A directory of the host: only under a waiver, and only below a few roots that hold data."""
    path = PurePosixPath(source)
    plain = source.startswith("/") and str(path) == source.rstrip("/") and ".." not in path.parts
    if not plain or not any(path.is_relative_to(root) for root in BIND_ROOTS) or not source.isprintable():
        item.refuse("compose.bind_mount", _HOST)
        return None
    given = item.waived("compose.bind_mount", f"the host's {source[:80]} is mounted")
    target = _target(item, target)
    return Bind(str(path), target, read_only) if target and given else None


def _long(item: Field, service: str, limits: Limits) -> _Mount | None:
    kind = target = name = ""
    read_only, size, mode = False, limits.tmpfs, ""
    for key, value in item.entries():
        match key:
            case "type":
                kind = value.text() or ""
            case "source":
                name = value.text() or ""
            case "target":
                target = value.text() or ""
            case "read_only":
                read_only = bool(value.flag())
            case "volume":
                _only(value, "nocopy")
            case "tmpfs":
                size, mode = _tmpfs_options(value, limits)
            case "bind":
                _only(value, "create_host_path")
            case "consistency":
                value.text()
            case _:
                value.refuse("compose.mount_option", "this mount option is not given")
    if kind in ("", "bind"):
        return _bind(item, name, target, read_only=read_only)
    if kind not in ("volume", "tmpfs"):
        item.refuse("compose.mount_type", f"a mount of type {kind[:20]!r}: {_HOST}")
        return None
    target = _target(item, target)
    if not target:
        return None
    if kind == "tmpfs":
        return Tmpfs(target, size, mode)
    if name and not _NAME.fullmatch(name):
        item.refuse("compose.bind_mount", _HOST)
        return None
    return Volume(name or _anonymous(service, target), target, read_only, anonymous=not name)


def _tmpfs_options(field: Field, limits: Limits) -> tuple[int, str]:
    size, mode = limits.tmpfs, ""
    for key, value in field.entries():
        text = value.text() or ""
        if key == "size":
            size = _size(value, text, limits)
        elif key == "mode" and re.fullmatch(r"[0-7]{3,4}", text):
            mode = text
        else:
            value.refuse("compose.unknown_key", "not a tmpfs option that is given")
    return size, mode


def _size(field: Field, text: str, limits: Limits) -> int:
    try:
        size = quantities.size(text)
    except ValueError as error:
        field.refuse("compose.type", str(error))
        return limits.tmpfs
    if size > limits.tmpfs or size <= 0:
        field.refuse("compose.tmpfs_size", f"a tmpfs of {size} bytes; at most {limits.tmpfs} are given")
    return size


def _only(field: Field, *allowed: str) -> None:
    for key, value in field.entries():
        if key not in allowed:
            value.refuse("compose.mount_option", "this mount option is not given")


def _anonymous(service: str, target: str) -> str:
    """A name for a volume that the author left nameless: the same at every start, another for every place."""
    readable = re.sub(r"[^a-zA-Z0-9]+", "_", f"{service}_{target}").strip("_")[:40]
    return f"anonymous_{readable}_{hashlib.sha256(f'{service} {target}'.encode()).hexdigest()[:12]}"
