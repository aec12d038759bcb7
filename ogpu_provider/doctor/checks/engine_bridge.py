"""Is there the bridge over which containers reach this host?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context
from ogpu_provider.domain.errors import EngineError


async def look(context: Context) -> Seen:
    try:
        return ok(f"containers know this host as {await context.engine.gateway()}")
    except EngineError as error:
        return failed(str(error))


CHECK = Check(
    id="engine_bridge",
    topic=Topic.ENGINE,
    severity=Severity.ERROR,
    title="default bridge",
    meaning="Containers post their results to this host over the engine's default bridge.",
    remedy='remove "bridge": "none" from /etc/docker/daemon.json, or set callback.host yourself',
    look=look,
    needs=("engine_reachable",),
)
