"""Does something else use the GPUs?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok, skipped
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.judgement import size
from ogpu_provider.doctor.ports import Context
from ogpu_provider.doctor.premises import holder


async def look(context: Context) -> Seen:
    nvidia, amd = await context.gpus.nvidia(), await context.gpus.amd()
    devices = [(d.name, d.memory_used, d.memory_total) for d in nvidia.devices]
    devices += [(d.name, d.memory_used, d.memory_total) for d in amd.devices]
    if not devices:
        return skipped("no usable GPU")
    if await holder(context) is not None:
        return skipped("the daemon runs: its own sources use the GPUs")
    busy = [(name, used, total) for name, used, total in devices if total and used > total // 10]
    if not busy:
        return ok("their memory is free")
    return failed(", ".join(f"{name}: {size(used)} of {size(total)} in use" for name, used, total in busy))


CHECK = Check(
    id="gpu_idle",
    topic=Topic.GPU,
    severity=Severity.WARNING,
    title="GPU memory",
    meaning="Something uses the GPU's memory; sources may fail to load their models, and tasks are slower.",
    remedy="stop what uses it (`nvidia-smi` or `rocm-smi` lists processes), a desktop session among others",
    look=look,
)
