"""Is there a GPU that tasks could use?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.judgement import size
from ogpu_provider.doctor.ports import Context


async def look(context: Context) -> Seen:
    nvidia, amd = await context.gpus.nvidia(), await context.gpus.amd()
    names = [f"{card.name} ({size(card.memory_total)})" for card in nvidia.devices]
    names += [f"{device.name} ({size(device.memory_total)})" for device in amd.devices]
    return ok(", ".join(names)) if names else failed("no usable GPU")


CHECK = Check(
    id="gpu_present",
    topic=Topic.GPU,
    severity=Severity.INFO,
    title="GPUs",
    meaning="Without a GPU this host can serve sources of the cpu environment only.",
    remedy="nothing, if that is what you want; otherwise see the checks of the vendor's driver",
    look=look,
)
