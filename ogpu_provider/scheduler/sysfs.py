"""Small virtual files of the kernel, any of which may be missing, unreadable or gone between two looks."""

import re
from pathlib import Path


def entries(directory: Path, name: re.Pattern[str]) -> list[Path]:
    """What is in a directory under such a name, sorted; nothing where it cannot be read."""
    try:
        return sorted(entry for entry in directory.iterdir() if name.fullmatch(entry.name))
    except OSError:
        return []


def text(path: Path) -> str:
    """Empty where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def number(path: Path) -> int | None:
    """sysfs writes amounts in decimal and ids as 0x...; None for anything else."""
    try:
        return int(text(path), 0)
    except ValueError:
        return None
