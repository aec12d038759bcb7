"""Is the engine part of a swarm?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context


async def look(context: Context) -> Seen:
    return failed("the engine is in a swarm") if (await context.engine.facts()).swarm else ok("not in a swarm")


CHECK = Check(
    id="engine_swarm",
    topic=Topic.ENGINE,
    severity=Severity.WARNING,
    title="swarm",
    meaning="A swarm's managers can start containers on this host, and its ports are open to the network.",
    remedy="`docker swarm leave`, if nothing else needs the swarm",
    look=look,
    needs=("engine_reachable",),
)
