"""Changes single settings in the operator's TOML file and leaves the rest, comments included, as it was written."""

import copy
import json
import os
import re
import secrets
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ogpu_provider.domain.errors import ConfigError

Value = str | int | float | bool | list[str]


def amend(path: Path, changes: Mapping[str, Value | None]) -> bool:
    """Set `section.key` settings in a TOML file, None to remove one; make the file, 0600, if there is none.

    Returns whether anything changed. The new file appears whole or not at all. Raises ConfigError: config.unreadable,
    config.syntax, and config.unchanged if the file is written in a way that only a person can change.
    """
    text, tree = read(path)
    before = text
    for key, value in changes.items():
        section, _, name = key.rpartition(".")
        wanted = _with(tree, section, name, value)
        if wanted != tree:
            text, tree = _changed(path, text, section, name, value, wanted), wanted
    if text == before and path.exists():
        return False
    _write(path, text)
    return True


def read(path: Path) -> tuple[str, dict[str, Any]]:
    """Text and content of the file; nothing of each if there is none. Raises ConfigError."""
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return "", {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read", code="config.unreadable", remedy="check its mode") from error
    try:
        return text, tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}", code="config.syntax", remedy="correct the TOML at that place") from None


def _with(tree: dict[str, Any], section: str, name: str, value: Value | None) -> dict[str, Any]:
    wanted = copy.deepcopy(tree)
    if value is None:
        (wanted.get(section, {}) if section else wanted).pop(name, None)
    else:
        (wanted.setdefault(section, {}) if section else wanted)[name] = value
    return wanted


def _changed(path: Path, text: str, section: str, name: str, value: Value | None, wanted: dict[str, Any]) -> str:
    """Try the few places where the line can be, and take the text that reads as wanted."""
    lines = text.removesuffix("\n").split("\n") if text else []
    new = [] if value is None else [f"{name} = {_toml(value)}"]
    start, end = _section(lines, section)
    if start is None:
        return _checked(path, [*lines, *([""] if lines else []), f"[{section}]", *new], wanted, section, name)
    for at in range(start, end):
        if re.match(rf'\s*(?:{re.escape(name)}|"{re.escape(name)}")\s*=', lines[at]):
            for last in range(at + 1, end + 1):  # a list may go over several lines
                if _reads(tried := [*lines[:at], *new, *lines[last:]], wanted):
                    return _joined(tried)
    while end > start and not lines[end - 1].strip():
        end -= 1
    return _checked(path, [*lines[:end], *new, *lines[end:]], wanted, section, name)


def _toml(value: Value) -> str:
    """Strings, numbers, booleans and lists of strings are written alike in JSON and TOML, but for one character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _section(lines: list[str], section: str) -> tuple[int | None, int]:
    """First line inside the section, and the line behind it; no first line if there is no such section."""
    heads = [number for number, line in enumerate(lines) if re.match(r"\s*\[", line) and not line.strip().endswith(",")]
    if not section:
        return 0, heads[0] if heads else len(lines)
    for number in heads:
        if re.match(rf"\s*\[\s*{re.escape(section)}\s*\]", lines[number]):
            return number + 1, next((other for other in heads if other > number), len(lines))
    return None, len(lines)


def _reads(lines: list[str], wanted: dict[str, Any]) -> bool:
    try:
        return tomllib.loads(_joined(lines)) == wanted
    except tomllib.TOMLDecodeError:
        return False


def _checked(path: Path, lines: list[str], wanted: dict[str, Any], section: str, name: str) -> str:
    if not _reads(lines, wanted):
        key = f"{section}.{name}" if section else name
        raise ConfigError(
            f"{path}: {key} cannot be changed here without touching what else is written",
            code="config.unchanged",
            remedy=f"set {key} by hand, then run this again",
        )
    return _joined(lines)


def _joined(lines: list[str]) -> str:
    return "\n".join(lines) + "\n" if lines else ""


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            _dress(descriptor, path)
            file.flush()
            os.fsync(descriptor)
        os.replace(draft, path)
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror}", code="config.unwritable", remedy="check the folder's owner and mode"
        ) from error


def _dress(descriptor: int, path: Path) -> None:
    """Owner, group and mode of the file that is replaced, as far as this user may; a service's user reads it, too."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return
    with suppress(PermissionError):
        os.fchown(descriptor, found.st_uid, found.st_gid)
        os.fchmod(descriptor, found.st_mode & 0o644)
