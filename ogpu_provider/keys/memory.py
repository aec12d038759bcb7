"""What the kernel gives away of a process that holds a key."""

import ctypes
import os
import sys
from typing import Final

_PR_SET_DUMPABLE: Final = 4


def forbid_dumps() -> None:
    """From now on this process leaves no core dump, in a file or with a handler, and no other process of the same user
    may read its memory or trace it (`man 2 prctl`, PR_SET_DUMPABLE; root may, as ever).

    A limit on core files would not do: handlers named in core_pattern get the dump all the same. Programs that this
    process starts are not covered. Raises OSError where the kernel refuses; does nothing but on Linux.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
