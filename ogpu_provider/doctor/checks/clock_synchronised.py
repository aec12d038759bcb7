"""Does something keep the clock right?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok, unknown
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context


async def look(context: Context) -> Seen:
    kept = await context.machine.clock_synchronised()
    if kept is None:
        return unknown("the kernel does not say whether the clock is synchronised")
    return ok("the kernel's clock is synchronised") if kept else failed("the kernel's clock is not synchronised")


CHECK = Check(
    id="clock_synchronised",
    topic=Topic.MACHINE,
    severity=Severity.WARNING,
    title="clock and NTP",
    meaning="Tasks end at a time of the chain's clock; a clock that drifts lets work be done that is not paid.",
    remedy="turn on time synchronisation: `timedatectl set-ntp true`, or install chrony",
    look=look,
)
