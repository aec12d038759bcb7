"""Are the device files of the NVIDIA driver there?"""

from pathlib import Path

from ogpu_provider.doctor.check import Check, Seen, failed, ok
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context

NODES = ("nvidiactl", "nvidia-uvm")


async def look(context: Context) -> Seen:
    missing = [name for name in NODES if await context.files.stat(Path("/dev") / name) is None]
    return failed(f"missing: {', '.join('/dev/' + name for name in missing)}") if missing else ok("all there")


CHECK = Check(
    id="nvidia_nodes",
    topic=Topic.GPU,
    severity=Severity.ERROR,
    title="NVIDIA device files",
    meaning="Without /dev/nvidia-uvm CUDA does not start in any container, although nvidia-smi works.",
    remedy="`nvidia-modprobe -c 0 -u` makes them; nvidia-persistenced keeps them there after a restart",
    look=look,
    needs=("nvidia_driver",),
)
