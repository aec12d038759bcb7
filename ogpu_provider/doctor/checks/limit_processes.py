"""How many processes may this user have?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context


async def look(context: Context) -> Seen:
    soft, _hard = context.machine.limit("nproc")
    text = f"{soft:g} processes and threads"
    return ok(text) if soft >= 512 else failed(text)


CHECK = Check(
    id="limit_processes",
    topic=Topic.MACHINE,
    severity=Severity.WARNING,
    title="processes",
    meaning="The daemon starts compose commands and uses threads; at the limit projects cannot be started.",
    remedy="raise it to 1024 or more: LimitNPROC= in the service, or /etc/security/limits.d",
    look=look,
)
