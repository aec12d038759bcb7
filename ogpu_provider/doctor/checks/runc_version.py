"""Is runc, which starts the containers, without known ways out?"""

from ogpu_provider.doctor.check import Check, Seen, unknown
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.judgement import by_floor
from ogpu_provider.doctor.ports import Context


async def look(context: Context) -> Seen:
    version = (await context.engine.facts()).components.get("runc", "")
    return by_floor("runc", version) if version else unknown("the engine does not name its runc")


CHECK = Check(
    id="runc_version",
    topic=Topic.ENGINE,
    severity=Severity.WARNING,
    title="runc version",
    meaning=(
        "runc draws the line between a container and this host. A distribution may have mended its own build without "
        "changing the version; only its security tracker tells."
    ),
    remedy="update containerd.io or runc to 1.2.8, 1.3.3, 1.4.0 or newer",
    look=look,
    needs=("engine_reachable",),
)
