"""Does the driver's branch still get fixes?"""

from ogpu_provider.doctor.check import Check, Seen, unknown
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.judgement import by_floor
from ogpu_provider.doctor.ports import Context


async def look(context: Context) -> Seen:
    driver = (await context.gpus.nvidia()).driver
    return by_floor("nvidia_driver", driver) if driver else unknown("the driver does not tell its version")


CHECK = Check(
    id="nvidia_driver_version",
    topic=Topic.GPU,
    severity=Severity.WARNING,
    title="NVIDIA driver version",
    meaning="Containers speak to the driver directly: a hole in it is a way out of them, whatever the engine does.",
    remedy="move to a branch that gets fixes (535, 580, 595 or newer), in its newest version",
    look=look,
    needs=("nvidia_driver",),
)
