"""Unified control groups?"""

from pathlib import Path

from ogpu_provider.doctor.check import Check, Seen, failed, ok
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context

WANTED = frozenset({"cpu", "memory", "pids"})


async def look(context: Context) -> Seen:
    controllers = await context.files.text(Path("/sys/fs/cgroup/cgroup.controllers"))
    if controllers is not None:
        missing = WANTED - set(controllers.split())
        if missing:
            return failed(f"cgroup v2 without {', '.join(sorted(missing))}", Severity.ERROR)
        return ok("cgroup v2")
    names = await context.files.names(Path("/sys/fs/cgroup"))
    if {"memory", "pids"} <= set(names):
        return failed("cgroup v1")
    return failed("no memory and pids control groups are mounted", Severity.ERROR)


CHECK = Check(
    id="cgroup_version",
    topic=Topic.MACHINE,
    severity=Severity.WARNING,
    title="control groups",
    meaning=(
        "Control groups hold containers to their limits. Version 1 does, but engines are about to drop it, and its "
        "release agent has been a way out of containers; without any, a source can take the whole host."
    ),
    remedy="boot with systemd.unified_cgroup_hierarchy=1 (the default of current distributions)",
    look=look,
)
