"""How much of the processors and the main memory a container around us leaves: its control group's limits."""

from dataclasses import dataclass
from pathlib import Path

_UNLIMITED = 1 << 60
"""Bytes; the first version of control groups says "no limit" with a number near the largest."""


@dataclass(frozen=True, slots=True)
class Confines:
    """None: no limit."""

    cpus: float | None = None
    memory: int | None = None


def confines(root: Path = Path("/sys/fs/cgroup")) -> Confines:
    """Of the control group that the tree begins with: in a container its own, on a host none."""
    if (root / "cgroup.controllers").exists():
        quota, _, period = _text(root / "cpu.max").partition(" ")
        return Confines(_share(quota, period), _number(_text(root / "memory.max")))
    folder = root / "cpu"
    cpus = _share(_text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us"))
    return Confines(cpus, _number(_text(root / "memory" / "memory.limit_in_bytes")))


def _share(quota: str, period: str) -> float | None:
    allowed, per = _number(quota), _number(period)
    return allowed / per if allowed and per else None


def _number(text: str) -> int | None:
    return int(text) if text.isdigit() and int(text) < _UNLIMITED else None


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
