"""Is root in a container somebody else outside?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context


async def look(context: Context) -> Seen:
    options = (await context.engine.facts()).security
    for name in ("rootless", "userns"):
        if any(option.startswith(f"name={name}") for option in options):
            return ok(f"the engine is {'rootless' if name == 'rootless' else 'remapping users'}")
    return failed("root in a container is root on this host")


CHECK = Check(
    id="engine_userns",
    topic=Topic.ENGINE,
    severity=Severity.INFO,
    title="users of containers",
    meaning="With userns-remap or a rootless engine, the worst known ways out of a container lead to nobody's account.",
    remedy='"userns-remap": "default" in /etc/docker/daemon.json; images are then pulled anew',
    look=look,
    needs=("engine_reachable",),
)
