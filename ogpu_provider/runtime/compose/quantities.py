"""Sizes, durations and image names as compose writes them. Each reader raises ValueError with a short reason."""

import re
from dataclasses import dataclass

_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,6})?) *([kKmMgGtT]?)(?:i?[bB])?")
_UNIT = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(us|ms|s|m|h)")
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_IDENTIFIER = re.compile(r"[0-9a-f]{64}")
_IMAGE = re.compile(
    r"(?P<repository>(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?(?::[0-9]{1,5})?/)?"
    r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)


def size(text: str) -> int:
    """Bytes: '64m' -> 67108864. Units are powers of 1024, as in compose."""
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{text[:40]!r} is not a size")
    return int(float(match[1]) * _UNIT[match[2].lower()])


def duration(text: str) -> float:
    """Seconds: '1m30s' -> 90.0."""
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text[:40]!r} is not a duration")
    return float(sum(float(number) * _SECONDS[unit] for number, unit in parts))


def milliseconds(seconds: float) -> str:
    """A duration for our own file."""
    return f"{max(1, round(seconds * 1000))}ms"


@dataclass(frozen=True, slots=True)
class Image:
    """A reference to an image. `digest` is `sha256:...` or empty."""

    repository: str
    tag: str = ""
    digest: str = ""

    @classmethod
    def parse(cls, text: str) -> "Image":
        match = _IMAGE.fullmatch(text) if len(text) <= 512 else None
        if not match or _IDENTIFIER.fullmatch(match["repository"]) or match["repository"] == "sha256":
            raise ValueError(f"{text[:80]!r} is not an image name")
        return cls(match["repository"], match["tag"] or "", match["digest"] or "")

    @property
    def registry(self) -> str:
        """The host that it is pulled from, without its port; empty for the engine's default registry."""
        host, slash, _ = self.repository.partition("/")
        named = slash and ("." in host or ":" in host or host == "localhost" or host != host.lower())
        return host.partition(":")[0] if named else ""

    @property
    def port(self) -> int | None:
        """Of the registry, where the name says one."""
        port = self.repository.partition("/")[0].partition(":")[2] if self.registry else ""
        return int(port) if port else None

    @property
    def tagged(self) -> str:
        return f"{self.repository}:{self.tag or 'latest'}"

    def pinned(self, digest: str) -> str:
        return f"{self.repository}@{digest}"

    def __str__(self) -> str:
        if self.digest:
            return self.pinned(self.digest)
        return self.tagged
