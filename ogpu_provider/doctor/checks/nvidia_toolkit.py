"""Is NVIDIA's container toolkit there, without known holes?"""

from ogpu_provider.doctor.check import Check, Seen, failed
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.judgement import by_floor
from ogpu_provider.doctor.ports import Context


async def look(context: Context) -> Seen:
    for program in ("nvidia-ctk", "nvidia-container-runtime", "nvidia-container-cli"):
        answer = await context.machine.run(program, "--version")
        if answer is not None and answer[0] == 0:
            return by_floor("nvidia_toolkit", answer[1])
    return failed("the toolkit is not installed", Severity.ERROR)


CHECK = Check(
    id="nvidia_toolkit",
    topic=Topic.GPU,
    severity=Severity.WARNING,
    title="NVIDIA container toolkit",
    meaning="It puts the GPU into containers; in older versions a hostile image becomes root on this host.",
    remedy="install nvidia-container-toolkit 1.19.1 or newer from NVIDIA's package repository",
    look=look,
    needs=("nvidia_driver",),
)
