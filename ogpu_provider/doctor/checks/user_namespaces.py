"""Can the kernel make user namespaces?"""

from pathlib import Path

from ogpu_provider.doctor.check import Check, Seen, failed, ok, unknown
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context

LIMIT = Path("/proc/sys/user/max_user_namespaces")


async def look(context: Context) -> Seen:
    text = await context.files.text(LIMIT)
    if text is None or not text.strip().isdigit():
        return unknown(f"{LIMIT} is not there: this kernel may have no user namespaces")
    if int(text) == 0:
        return failed("user namespaces are turned off")
    return ok(f"up to {int(text)} user namespaces")


CHECK = Check(
    id="user_namespaces",
    topic=Topic.MACHINE,
    severity=Severity.INFO,
    title="user namespaces",
    meaning="Without user namespaces, neither userns-remap nor a rootless engine is possible: root stays root.",
    remedy="set user.max_user_namespaces above 0 in /etc/sysctl.d, if the host's policy allows",
    look=look,
)
