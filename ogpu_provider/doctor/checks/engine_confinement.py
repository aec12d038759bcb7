"""Does AppArmor or SELinux confine containers?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context


async def look(context: Context) -> Seen:
    options = (await context.engine.facts()).security
    found = [name for name in ("apparmor", "selinux") if any(o.startswith(f"name={name}") for o in options)]
    return ok(f"{found[0]} is on") if found else failed("neither AppArmor nor SELinux")


CHECK = Check(
    id="engine_confinement",
    topic=Topic.ENGINE,
    severity=Severity.WARNING,
    title="AppArmor or SELinux",
    meaning="The second wall round a container is missing; one hole in the first is enough.",
    remedy="turn on the distribution's own (Debian, Ubuntu: AppArmor; Fedora, RHEL: SELinux), then restart the engine",
    look=look,
    needs=("engine_reachable",),
)
