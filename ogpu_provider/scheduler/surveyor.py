"""Runs apart from the daemon and asks the drivers: `python -m ogpu_provider.scheduler.surveyor nvidia|amd`.

Where /sys, /dev and /proc are may follow. One reading for each line of input, as one line of JSON. It ends when its
input does, and with the daemon however that ends. A driver that hangs or crashes takes only this process along.
"""

import contextlib
import ctypes
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from ogpu_provider.scheduler.reading import Reading, document

_PR_SET_PDEATHSIG = 1


def reader(vendor: str, sys_root: Path, dev_root: Path, proc_root: Path) -> Callable[[], Reading]:
    """Raises KeyError for a vendor that nobody knows."""
    if vendor == "nvidia":
        from ogpu_provider.scheduler.nvml import Nvml

        return Nvml(dev_root).read
    from ogpu_provider.scheduler import amd

    return {"amd": lambda: amd.read(sys_root, dev_root, proc_root=proc_root)}[vendor]


def main(words: list[str]) -> None:
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    vendor, *roots = words
    sys_root, dev_root, proc_root = (Path(root) for root in roots or ("/sys", "/dev", "/proc"))
    read = reader(vendor, sys_root, dev_root, proc_root)
    for _ in sys.stdin:
        print(json.dumps(document(read())), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
