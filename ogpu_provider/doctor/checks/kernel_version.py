"""Is the kernel one that still gets fixes?"""

from ogpu_provider.doctor.check import Check, Seen
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.judgement import by_floor
from ogpu_provider.doctor.ports import Context


async def look(context: Context) -> Seen:
    return by_floor("kernel", context.machine.kernel)


CHECK = Check(
    id="kernel_version",
    topic=Topic.MACHINE,
    severity=Severity.WARNING,
    title="kernel version",
    meaning="Containers share this host's kernel: a hole in it is a way out of every container.",
    remedy="install the distribution's current kernel and restart the host",
    look=look,
)
