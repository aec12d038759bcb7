"""Does the engine filter system calls?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context


async def look(context: Context) -> Seen:
    option = next((o for o in (await context.engine.facts()).security if o.startswith("name=seccomp")), None)
    if option is None:
        return failed("the engine has no seccomp")
    return failed("seccomp is unconfined") if "unconfined" in option else ok(option.replace("name=", ""))


CHECK = Check(
    id="engine_seccomp",
    topic=Topic.ENGINE,
    severity=Severity.ERROR,
    title="system call filter",
    meaning="Without the default filter, containers reach parts of the kernel where most ways out were found.",
    remedy="remove seccomp-profile from /etc/docker/daemon.json, or use a kernel with seccomp",
    look=look,
    needs=("engine_reachable",),
)
