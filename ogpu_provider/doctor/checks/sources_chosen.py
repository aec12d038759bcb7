"""Is there a source to serve?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context


async def look(context: Context) -> Seen:
    serve = context.settings.sources.serve
    if serve == "all":
        return ok("all, but those denied")
    left = [source for source in serve if source not in context.settings.sources.deny]
    return ok(f"{len(left)}") if left else failed("sources.serve names none")


CHECK = Check(
    id="sources_chosen",
    topic=Topic.ACCOUNT,
    severity=Severity.WARNING,
    title="sources to serve",
    meaning="Tasks belong to sources. Without a source the daemon runs, sees nothing and earns nothing.",
    remedy='`ogpu-provider sources add ADDRESS`, or sources.serve = "all" in the settings',
    look=look,
)
