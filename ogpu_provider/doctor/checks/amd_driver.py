"""Has the compute driver taken the AMD GPUs?"""

from pathlib import Path

from ogpu_provider.doctor.check import Check, Seen, failed, ok, skipped
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context
from ogpu_provider.doctor.premises import AMD, cards_on_the_bus


async def look(context: Context) -> Seen:
    plugged = await cards_on_the_bus(context, AMD)
    if not plugged:
        return skipped("no AMD GPU in this host")
    if await context.files.stat(Path("/dev/kfd")) is None:
        return failed(f"{plugged} AMD GPU(s) on the bus, but no /dev/kfd")
    return ok(f"{plugged} AMD GPU(s), /dev/kfd is there")


CHECK = Check(
    id="amd_driver",
    topic=Topic.GPU,
    severity=Severity.WARNING,
    title="AMD compute driver",
    meaning="Without /dev/kfd an AMD GPU cannot compute. For integrated graphics that is no loss.",
    remedy="install amdgpu-dkms of ROCm, or a kernel with CONFIG_HSA_AMD; `modprobe amdgpu`",
    look=look,
)
