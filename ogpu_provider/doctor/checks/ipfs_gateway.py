"""Does the gateway that links point to answer?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context


async def look(context: Context) -> Seen:
    if not context.network.gateway_url:
        return failed("no gateway is set")
    status, reason = await context.web.status(context.network.gateway_url)
    if status == 0 or status >= 500:
        return failed(reason or f"it answers HTTP {status}")
    return ok("it answers")


CHECK = Check(
    id="ipfs_gateway",
    topic=Topic.SERVICES,
    severity=Severity.WARNING,
    title="IPFS gateway",
    meaning="Sources and inputs of tasks are documents on IPFS; those on this gateway cannot be read now.",
    remedy="wait, or set network.gateway_url to another gateway",
    look=look,
)
