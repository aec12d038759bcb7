"""Is the engine's version one without known holes?"""

from ogpu_provider.doctor.check import Check, Seen
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.judgement import by_floor
from ogpu_provider.doctor.ports import Context


async def look(context: Context) -> Seen:
    return by_floor("engine", (await context.engine.facts()).version)


CHECK = Check(
    id="engine_version",
    topic=Topic.ENGINE,
    severity=Severity.WARNING,
    title="engine version",
    meaning=(
        "Older engines have known holes that a hostile image or container can use. A distribution may have mended "
        "its own build without changing the version; only its security tracker tells."
    ),
    remedy="install Docker 29.9.0 or newer from docs.docker.com/engine/install, or ask the distribution's tracker",
    look=look,
    needs=("engine_reachable",),
)
