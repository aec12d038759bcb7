"""Facts that several checks build on. Each may raise what the ports raise: that is "could not find out"."""

import re
from collections.abc import Iterator
from pathlib import Path

from ogpu_provider.doctor.ports import Context
from ogpu_provider.domain.errors import KeyRefused
from ogpu_provider.domain.units import Address

NVIDIA, AMD = "0x10de", "0x1002"
_DISPLAY = ("0x03", "0x12")  # PCI classes: display controllers, processing accelerators
_PCI = Path("/sys/bus/pci/devices")
SOURCES_LOOKED_AT = 50
_SOCKET_UNIT = Path("/etc/systemd/system/ogpu-provider.socket")
SERVICE_UNIT = _SOCKET_UNIT.with_suffix(".service")


async def cards_on_the_bus(context: Context, vendor: str) -> int:
    """How many GPUs of a vendor are plugged in, whether or not a driver has taken them."""
    count = 0
    for name in await context.files.names(_PCI):
        if (await context.files.text(_PCI / name / "vendor") or "").strip() != vendor:
            continue
        count += (await context.files.text(_PCI / name / "class") or "").startswith(_DISPLAY)
    return count


async def provider(context: Context) -> Address:
    """Our address, from the keystore. Raises KeyRefused."""
    address = await context.books.address()
    if address is None:
        raise KeyRefused("the keystore does not name its address", code="key.no_address")
    return address


async def holder(context: Context) -> int | None:
    """The process that holds the journal: a daemon that runs on these settings.

    Read from the kernel's list, because trying the lock could hinder a start.
    """
    lock = await context.files.stat(context.settings.journal.with_name(context.settings.journal.name + ".lock"))
    if lock is None:
        return None
    for line in (await context.files.text(Path("/proc/locks")) or "").splitlines():
        words = line.split()
        if len(words) > 5 and words[1] == "FLOCK" and words[5].endswith(f":{lock.inode}"):
            return int(words[4])
    return None


async def callback_host(context: Context) -> str:
    """Where containers' results are taken. Raises EngineError."""
    chosen = context.settings.callback.host
    if chosen != "auto":
        return chosen
    return "127.0.0.1" if context.settings.runtime.engine == "processes" else await context.engine.gateway()


async def callback_port(context: Context) -> int:
    """The port that is set, or was remembered; 0 if a free one is still to be chosen."""
    if context.settings.callback.port:
        return context.settings.callback.port
    text = (await context.files.text(context.settings.data_dir / "callback.port") or "").strip()
    return int(text) if re.fullmatch(r"\d{1,5}", text) else 0


async def port_holder(context: Context, port: int) -> str:
    """Who rightly holds the callback's port: the daemon, or systemd for it; empty if nobody does."""
    if (pid := await holder(context)) is not None:
        return f"the daemon (process {pid})"
    unit = await context.files.text(_SOCKET_UNIT) or ""
    held = re.search(rf"^ListenStream=\[?(\S+?)\]?:{port}$", unit, re.MULTILINE)
    taken = held is not None and await context.machine.bindable(held[1], port)
    return f"systemd ({_SOCKET_UNIT.name})" if taken else ""


async def sources(context: Context) -> list[Address]:
    """Those that the settings ask to serve, at most SOURCES_LOOKED_AT of them."""
    chosen = context.settings.sources
    listed = await context.chain.sources() if chosen.serve == "all" else [Address(each) for each in chosen.serve]
    return [source for source in listed if source not in chosen.deny][:SOURCES_LOOKED_AT]


def private(mode: int) -> bool:
    return not mode & 0o077


def open_bits(mode: int) -> Iterator[str]:
    """Who else may do something, in words."""
    for shift, who in ((3, "its group"), (0, "everybody")):
        if mode >> shift & 0o7:
            yield who
