"""Do containers survive a restart of the engine?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context


async def look(context: Context) -> Seen:
    if (await context.engine.facts()).live_restore:
        return ok("live restore is on")
    return failed("live restore is off")


CHECK = Check(
    id="engine_live_restore",
    topic=Topic.ENGINE,
    severity=Severity.INFO,
    title="live restore",
    meaning="An update of the engine stops every container, and with them the tasks that run.",
    remedy='"live-restore": true in /etc/docker/daemon.json, then `systemctl reload docker`',
    look=look,
    needs=("engine_reachable",),
)
