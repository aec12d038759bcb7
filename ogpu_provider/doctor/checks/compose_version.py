"""Is there a compose command that is new enough?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok, skipped
from ogpu_provider.doctor.finding import Severity, Status, Topic
from ogpu_provider.doctor.judgement import by_floor
from ogpu_provider.doctor.ports import Context
from ogpu_provider.domain.errors import EngineError


async def look(context: Context) -> Seen:
    if context.settings.runtime.engine != "docker":
        return skipped("runtime.engine is processes: compose is not used")
    try:
        command, version = await context.engine.compose()
    except EngineError as error:
        return failed(str(error), Severity.ERROR)
    seen = by_floor("compose", version)
    return ok(f"{command}, version {version}") if seen.status is Status.OK else seen


CHECK = Check(
    id="compose_version",
    topic=Topic.ENGINE,
    severity=Severity.WARNING,
    title="docker compose",
    meaning="Projects are started with docker compose, version 2.20 or newer; below 2.40.2 it has a known hole.",
    remedy="install the docker-compose-plugin package of docs.docker.com, or name a program under runtime.compose",
    look=look,
)
