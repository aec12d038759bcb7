"""Is there a container engine that answers?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok, skipped
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context
from ogpu_provider.domain.errors import EngineError


async def look(context: Context) -> Seen:
    if context.settings.runtime.engine != "docker":
        return skipped("runtime.engine is processes: no containers are used")
    try:
        facts = await context.engine.facts()
    except EngineError as error:
        return failed(str(error))
    return ok(f"engine {facts.version}, API {facts.api}")


CHECK = Check(
    id="engine_reachable",
    topic=Topic.ENGINE,
    severity=Severity.ERROR,
    title="container engine",
    meaning="Sources run in containers: without an engine nothing can be served.",
    remedy=(
        "install and start Docker (`systemctl enable --now docker`), and let this user use its socket "
        "(`usermod -aG docker USER`, then log in again; whoever may use it is root on this host)"
    ),
    look=look,
)
