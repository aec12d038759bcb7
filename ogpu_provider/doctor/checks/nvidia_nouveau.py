"""Has nouveau taken the NVIDIA GPU?"""

from pathlib import Path

from ogpu_provider.doctor.check import Check, Seen, failed, ok, skipped
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context
from ogpu_provider.doctor.premises import NVIDIA, cards_on_the_bus


async def look(context: Context) -> Seen:
    if not await cards_on_the_bus(context, NVIDIA):
        return skipped("no NVIDIA GPU in this host")
    modules = {line.split()[0] for line in (await context.files.text(Path("/proc/modules")) or "").splitlines() if line}
    return failed("the kernel module nouveau is loaded") if "nouveau" in modules else ok("nouveau is not loaded")


CHECK = Check(
    id="nvidia_nouveau",
    topic=Topic.GPU,
    severity=Severity.ERROR,
    title="nouveau",
    meaning="nouveau drives screens, it cannot compute; while it has the GPU, NVIDIA's driver cannot.",
    remedy="`blacklist nouveau` in /etc/modprobe.d, rebuild the initramfs, restart the host",
    look=look,
)
