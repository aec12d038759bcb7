"""A known secret, and where it turns up: looked for in six encodings, so that no detour hides it."""

import base64
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ogpu_provider.devnet import accounts

LARGEST = 256 << 20
_HEX_KEY = 66


class Canary:
    """`key`: 32 bytes. `password`: text, looked for as it is, in hex and in base64."""

    def __init__(self, key: bytes, password: str = "") -> None:
        assert len(key) == 32
        self._marks: dict[str, list[bytes]] = {
            "hex": [key.hex().encode()],
            "upper-case hex": [key.hex().upper().encode()],
            "base64": _base64(key, b"+/"),
            "base64url": _base64(key, b"-_"),
            "bytes": [key, key[::-1], *_escaped(key)],
            "decimal": [str(int.from_bytes(key, "big")).encode()],
        }
        if password:
            plain = password.encode()
            self._marks["password"] = [plain, plain.hex().encode(), *_base64(plain, b"+/")]

    @property
    def marks(self) -> Mapping[str, list[bytes]]:
        return self._marks

    def found(self, data: bytes) -> list[str]:
        """The encodings in which it is there."""
        return [name for name, marks in self._marks.items() if any(mark in data for mark in marks)]

    def found_below(self, *folders: Path, skipped: frozenset[Path] = frozenset()) -> dict[str, list[str]]:
        """Encodings by file; files that go away meanwhile are none."""
        leaks: dict[str, list[str]] = {}
        for path in _files(folders):
            if skipped.isdisjoint((path, *path.parents)) and (found := self.found(_content(path))):
                leaks[str(path)] = found
        return leaks

    def found_in_processes(self) -> dict[str, list[str]]:
        """Command lines and environments of everything that runs on this host, inside of containers too."""
        return self.found_below(*(each for each in Path("/proc").iterdir() if each.name.isdigit()))

    def found_in_json(self, documents: Mapping[str, Any]) -> dict[str, list[str]]:
        shown = {name: self.found(json.dumps(document).encode()) for name, document in documents.items()}
        return {name: found for name, found in shown.items() if found}


def _escaped(secret: bytes) -> list[bytes]:
    """Bytes as a traceback or a document shows them: their repr, and lists of numbers."""
    numbers = [str(each) for each in secret]
    return [repr(secret)[2:-1].encode(), ", ".join(numbers).encode(), ",".join(numbers).encode()]


def _base64(secret: bytes, marks: bytes) -> list[bytes]:
    """What of it is there wherever it begins within a longer text: three shifts, without the ends they share."""
    shifts = []
    for shift in range(3):
        text = base64.b64encode(bytes(shift) + secret + bytes(3), altchars=marks)
        shifts.append(text[-(-shift * 8 // 6) : (shift + len(secret)) * 8 // 6])
    return shifts


def _files(folders: tuple[Path, ...]) -> Iterator[Path]:
    for folder in folders:
        if folder.parent == Path("/proc"):
            yield from (folder / "cmdline", folder / "environ")
        else:
            yield from (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > LARGEST:
            raise AssertionError(f"{path} is too large to search")
        return path.read_bytes()
    except OSError:
        return b""


def known_keys_below(folder: Path) -> dict[str, list[str]]:
    """The keys that keystores of this suite hold, in what its tests have left; files by role and encoding.

    They are the local network's, and its node prints them: a file that has their mnemonic is the network's own. A file
    with nothing but a key is what a test has given to a command; programs are no output.
    """
    holders = {name: Canary(bytes.fromhex(accounts.role(name).private_key[2:])) for name in accounts.ROLES}
    leaks: dict[str, list[str]] = {}
    for path in _files((folder,)):
        content = _content(path)
        given = path.suffix == ".py" or len(content.strip()) <= _HEX_KEY
        if given or accounts.MNEMONIC.encode() in content:
            continue
        found = [f"{name}: {encoding}" for name, canary in holders.items() for encoding in canary.found(content)]
        if found:
            leaks[str(path)] = found
    return leaks
