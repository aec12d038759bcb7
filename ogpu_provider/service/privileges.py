"""From root to the daemon's own user, with the few capabilities that it needs and was given."""

import ctypes
import os
import re
from collections.abc import Collection
from pathlib import Path

NET_ADMIN, NET_RAW = 12, 13
EGRESS = frozenset({NET_ADMIN, NET_RAW})
"""What setting firewall rules takes; numbers as in linux/capability.h."""

_KEEPCAPS, _AMBIENT, _AMBIENT_RAISE = 8, 47, 2  # linux/prctl.h
_VERSION = 0x20080522


def held(status: str) -> frozenset[int]:
    """The capabilities that `/proc/self/status` calls permitted."""
    found = re.search(r"^CapPrm:\s*([0-9a-f]+)$", status, re.MULTILINE)
    mask = int(found[1], 16) if found else 0
    return frozenset(number for number in range(64) if mask >> number & 1)


def become(uid: int, gid: int, groups: Collection[int], capabilities: Collection[int] = EGRESS) -> None:
    """Give up root for good. Of `capabilities`, those that this process holds stay, also over exec; others are lost.

    Raises OSError.
    """
    kept = sorted(held(Path("/proc/self/status").read_text()) & set(capabilities))
    libc = ctypes.CDLL(None, use_errno=True)
    if kept:
        _call(libc, "prctl", _KEEPCAPS, 1, 0, 0, 0)
    os.setgroups(sorted(groups))
    os.setgid(gid)
    os.setuid(uid)
    if kept:
        _keep_only(libc, kept)


def _keep_only(libc: ctypes.CDLL, capabilities: Collection[int]) -> None:
    words = [sum(1 << number - low for number in capabilities if low <= number < low + 32) for low in (0, 32)]
    header = (ctypes.c_uint32 * 2)(_VERSION, 0)
    # effective, permitted, inheritable; first of the lower 32, then of the upper
    data = (ctypes.c_uint32 * 6)(*(word for word in words for _ in range(3)))
    _call(libc, "capset", header, data)
    for number in capabilities:
        _call(libc, "prctl", _AMBIENT, _AMBIENT_RAISE, number, 0, 0)


def _call(libc: ctypes.CDLL, name: str, *arguments: object) -> None:
    """Numbers go as the kernel's longs: a variadic function gets no conversion."""
    if getattr(libc, name)(*(ctypes.c_ulong(a) if isinstance(a, int) else a for a in arguments)):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
