"""Does the driver of the NVIDIA GPUs answer?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok, skipped
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context
from ogpu_provider.doctor.premises import NVIDIA, cards_on_the_bus


async def look(context: Context) -> Seen:
    survey = await context.gpus.nvidia()
    if survey.devices:
        return ok(f"driver {survey.driver or 'of unknown version'}, {len(survey.devices)} GPU(s)")
    plugged = await cards_on_the_bus(context, NVIDIA)
    if not plugged and not survey.problems:
        return skipped("no NVIDIA GPU in this host")
    why = "; ".join(problem.text for problem in survey.problems) or "no driver is installed"
    return failed(f"{plugged or 'no'} NVIDIA GPU(s) on the bus: {why}")


CHECK = Check(
    id="nvidia_driver",
    topic=Topic.GPU,
    severity=Severity.ERROR,
    title="NVIDIA driver",
    meaning="The GPU is there, but nothing can use it.",
    remedy="install the distribution's NVIDIA driver package, restart the host; `nvidia-smi` must list the GPU",
    look=look,
)
