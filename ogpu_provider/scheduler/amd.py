"""AMD GPUs, from sysfs. No library needed: the amdgpu driver describes each card under /sys/class/drm.

A container gets an AMD GPU as two device files, /dev/kfd (compute, common to all cards) and the card's own
/dev/dri/renderD*; a card without both cannot compute and is left out. Blocking, but only small virtual files.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ogpu_provider.domain.resources import Device
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.verdict import Reason
from ogpu_provider.scheduler.amd_gauges import gauges
from ogpu_provider.scheduler.amd_processes import processes
from ogpu_provider.scheduler.reading import DeviceReading, Reading
from ogpu_provider.scheduler.sysfs import entries, number, text

_VENDOR = 0x1002
_CARD = re.compile(r"card\d+")  # card0, not its connectors: card0-DP-1
_RENDER = re.compile(r"renderD\d+")
_PCI = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
MIN_MEMORY = 2 << 30
"""Bytes. Processors with graphics carve 512 MiB or so from main memory: enough for a screen, not for a model."""


@dataclass(frozen=True, slots=True)
class Card:
    """One card as sysfs shows it. `address` on the PCI bus, memory in bytes; None is what the driver does not tell.

    `folder` is its device directory.
    """

    address: str
    name: str
    unique_id: str
    memory_total: int | None
    memory_used: int | None
    render_node: str | None
    folder: Path


def read(
    sys_root: Path = Path("/sys"),
    dev_root: Path = Path("/dev"),
    *,
    proc_root: Path = Path("/proc"),
    min_memory: int = MIN_MEMORY,
) -> Reading:
    """The AMD devices of this host; what cannot be used is left out and explained. Never raises OSError.

    `sys_root`, `dev_root` and `proc_root` say where to look (a daemon in a container sees the host's elsewhere); device
    files are always named as the host names them, under /dev.
    """
    found: dict[str, DeviceReading] = {}
    problems: list[Reason] = []
    there = cards(sys_root)
    using = processes(sys_root, proc_root) if there else {}
    for card in there:
        if problem := _unfit(card, dev_root, min_memory):
            problems.append(Reason(problem.code, f"AMD GPU {card.address} ({card.name}) is left out: {problem.text}"))
            continue
        total = card.memory_total or 0
        used = total if card.memory_used is None else card.memory_used
        nodes = ("/dev/kfd", f"/dev/dri/{card.render_node}")
        device = Device(card.address, Environment.AMD, card.name, total, used, nodes)
        found[card.address] = DeviceReading(device, gauges(card.folder), using.get(card.address, ()))
    driver = text(sys_root / "module" / "amdgpu" / "version")
    return Reading(tuple(found[address] for address in sorted(found)), tuple(problems), driver)


def cards(sys_root: Path = Path("/sys")) -> list[Card]:
    """Every AMD card that the kernel's display driver has, in the order of PCI addresses."""
    return sorted(_cards(sys_root), key=lambda card: card.address)


def _cards(sys_root: Path) -> Iterator[Card]:
    for entry in entries(sys_root / "class" / "drm", _CARD):
        device = entry / "device"
        if number(device / "vendor") != _VENDOR:
            continue
        try:
            address = device.resolve(strict=True).name
        except (OSError, RuntimeError):
            continue  # gone between two looks
        if not _PCI.fullmatch(address):
            continue  # a partition of a card: it shares the card's memory and address
        model = text(device / "device").removeprefix("0x")
        yield Card(
            address=address,
            name=text(device / "product_name") or f"AMD GPU 1002:{model or '????'}",
            unique_id=text(device / "unique_id"),
            memory_total=number(device / "mem_info_vram_total"),
            memory_used=number(device / "mem_info_vram_used"),
            render_node=next((node.name for node in entries(device / "drm", _RENDER)), None),
            folder=device,
        )


def _unfit(card: Card, dev_root: Path, min_memory: int) -> Reason | None:
    if card.memory_total is None:
        return Reason("gpu.unreadable", "its memory cannot be read")
    if card.memory_total < min_memory:
        return Reason("gpu.too_small", f"{card.memory_total >> 20} MiB of memory, {min_memory >> 20} MiB are needed")
    if card.render_node is None or not (dev_root / "dri" / card.render_node).exists():
        return Reason("gpu.no_render_node", "it has no render node")
    if not (dev_root / "kfd").exists():
        return Reason("gpu.no_compute_node", "/dev/kfd is missing, the kernel's compute driver is not loaded")
    return None
