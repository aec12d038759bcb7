"""Are there processors enough to serve and to run a task?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context


async def look(context: Context) -> Seen:
    count = context.machine.cpus
    slots = context.settings.admission.cpu_slots
    if slots is not None and slots > count:
        return failed(f"{count} processors, but admission.cpu_slots is {slots}")
    return ok(f"{count} processors") if count >= 2 else failed("1 processor")


CHECK = Check(
    id="processors",
    topic=Topic.MACHINE,
    severity=Severity.WARNING,
    title="processors",
    meaning="Tasks compete with the daemon for processors; late attempts and responses lose races.",
    remedy="use a host with at least two processors, or set admission.cpu_slots no higher than their number",
    look=look,
)
