"""Can packets leave the containers' networks?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context


async def look(context: Context) -> Seen:
    return ok("on") if (await context.engine.facts()).forwarding else failed("IPv4 forwarding is off")


CHECK = Check(
    id="engine_forwarding",
    topic=Topic.ENGINE,
    severity=Severity.ERROR,
    title="IPv4 forwarding",
    meaning="Containers cannot reach anything, so sources cannot fetch what their tasks name.",
    remedy="net.ipv4.ip_forward = 1 in /etc/sysctl.d, then `sysctl --system` and restart the engine",
    look=look,
    needs=("engine_reachable",),
)
