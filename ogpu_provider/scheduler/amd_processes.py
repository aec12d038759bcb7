"""Who has memory of an AMD card.

The compute driver lists its processes under /sys/class/kfd/kfd/proc, with the bytes that each has of each card. Those
that draw are found by what they have open: the kernel describes each open file of a card under /proc/PID/fdinfo. A user
other than root sees there only what is their own.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from ogpu_provider.scheduler.reading import GpuProcess
from ogpu_provider.scheduler.sysfs import entries, number, text

_DIGITS = re.compile(r"\d+")
_VRAM = re.compile(r"vram_(\d+)")
_UNITS = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20}
_NODES = "/dri/"


def processes(sys_root: Path, proc_root: Path) -> dict[str, tuple[GpuProcess, ...]]:
    """By the card's address on the PCI bus; who computes and draws is one that computes. Never raises OSError."""
    found = {(address, pid): GpuProcess(pid, memory, graphics=True) for address, pid, memory in _drawing(proc_root)}
    found |= {(address, pid): GpuProcess(pid, memory) for address, pid, memory in _computing(sys_root)}
    told: dict[str, list[GpuProcess]] = {}
    for (address, _), process in sorted(found.items()):
        told.setdefault(address, []).append(process)
    return {address: tuple(each) for address, each in told.items()}


def _computing(sys_root: Path) -> Iterator[tuple[str, int, int]]:
    kfd = sys_root / "class" / "kfd" / "kfd"
    cards = _cards(kfd / "topology" / "nodes")
    for process in entries(kfd / "proc", _DIGITS):
        for path in entries(process, _VRAM):
            memory, address = number(path), cards.get(path.name.removeprefix("vram_"))
            if memory and address:
                yield address, int(process.name), memory


def _cards(nodes: Path) -> dict[str, str]:
    """The bus address of each card by the compute driver's own number for it."""
    found = {}
    for node in entries(nodes, _DIGITS):
        facts = dict(line.split(maxsplit=1) for line in text(node / "properties").splitlines() if " " in line)
        place, domain = facts.get("location_id", ""), facts.get("domain", "0")
        if (own := text(node / "gpu_id")) not in ("", "0") and place.isdigit() and domain.isdigit():
            bus, device, function = int(place) >> 8, int(place) >> 3 & 0x1F, int(place) & 7
            found[own] = f"{int(domain):04x}:{bus:02x}:{device:02x}.{function}"
    return found


def _drawing(proc_root: Path) -> Iterator[tuple[str, int, int]]:
    for process in entries(proc_root, _DIGITS):
        clients: dict[tuple[str, str], int] = {}
        for described in _described(process):
            address, client = described.get("drm-pdev", ""), described.get("drm-client-id", "")
            if described.get("drm-driver") == "amdgpu" and address:
                clients[address, client] = _size(described.get("drm-memory-vram", ""))  # one that is open twice
        for address in sorted({address for address, _ in clients}):
            yield address, int(process.name), sum(size for (on, _), size in clients.items() if on == address)


def _described(process: Path) -> Iterable[dict[str, str]]:
    """What the kernel says of a process's open files of display devices."""
    for file in entries(process / "fd", _DIGITS):
        try:
            if _NODES not in str(file.readlink()):
                continue
        except OSError:
            continue
        pairs = (line.partition(":") for line in text(process / "fdinfo" / file.name).splitlines())
        yield {name: value.strip() for name, _, value in pairs}


def _size(words: str) -> int:
    """`1024 KiB` in bytes."""
    amount, _, unit = words.partition(" ")
    return int(amount) * _UNITS.get(unit, 0) if amount.isdigit() else 0
