"""How much memory this host has left, as its kernel estimates it (proc(5), MemAvailable)."""

from pathlib import Path

from ogpu_provider.domain.resources import MemoryReading

_KIB = 1024


def read(meminfo: Path = Path("/proc/meminfo")) -> MemoryReading | None:
    """None where the kernel does not say."""
    found: dict[str, int] = {}
    try:
        for line in meminfo.read_text().splitlines():
            name, _, rest = line.partition(":")
            if name in ("MemTotal", "MemAvailable"):
                found[name] = int(rest.split()[0]) * _KIB
        return MemoryReading(found["MemTotal"], found["MemAvailable"])
    except (OSError, ValueError, IndexError, KeyError):
        return None
