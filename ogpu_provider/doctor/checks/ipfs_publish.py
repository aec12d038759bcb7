"""Does the service that results are published with answer?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok, unknown
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context


async def look(context: Context) -> Seen:
    if not context.network.pin_url:
        return failed("no publishing service is set")
    status, reason = await context.web.status(context.network.pin_url)
    if status == 0:
        return failed(reason)
    return unknown(f"it answers HTTP {status}") if status >= 500 else ok("it answers")


CHECK = Check(
    id="ipfs_publish",
    topic=Topic.SERVICES,
    severity=Severity.ERROR,
    title="publishing results",
    meaning="A result that cannot be published cannot be submitted: the work is done and not paid.",
    remedy="check network.publish_url and this host's way out",
    look=look,
)
