"""Does the engine know how to give an NVIDIA GPU to a container?"""

from pathlib import Path

from ogpu_provider.doctor.check import Check, Seen, failed, ok
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context

CDI_DIRS = ("/etc/cdi", "/var/run/cdi")


async def look(context: Context) -> Seen:
    facts = await context.engine.facts()
    if "nvidia" in facts.runtimes:
        return ok("the runtime nvidia is registered")
    for folder in facts.cdi_dirs or CDI_DIRS:
        if found := [name for name in await context.files.names(Path(folder)) if "nvidia" in name]:
            if facts.cdi_dirs:
                return ok(f"CDI: {folder}/{found[0]}")
            return failed(f"{folder}/{found[0]} is there, but this engine does not use CDI")
    return failed("neither the runtime nvidia nor a CDI description is registered")


CHECK = Check(
    id="nvidia_runtime",
    topic=Topic.GPU,
    severity=Severity.ERROR,
    title="NVIDIA runtime or CDI",
    meaning="Projects that ask for a GPU cannot be started.",
    remedy="`nvidia-ctk runtime configure --runtime=docker`, then restart the engine",
    look=look,
    needs=("nvidia_driver", "engine_reachable"),
)
