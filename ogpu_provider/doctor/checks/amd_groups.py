"""May this user use the AMD GPUs?"""

from pathlib import Path

from ogpu_provider.doctor.check import Check, Seen, failed, ok, unknown
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context


async def look(context: Context) -> Seen:
    facts = await context.files.stat(Path("/dev/kfd"))
    if facts is None:
        return unknown("/dev/kfd is not there")
    machine = context.machine
    if machine.uid in (0, facts.uid) or facts.gid in machine.groups or facts.mode & 0o006 == 0o006:
        return ok("this user may open /dev/kfd")
    return failed(f"/dev/kfd belongs to group {facts.gid}, which this user is not in")


CHECK = Check(
    id="amd_groups",
    topic=Topic.GPU,
    severity=Severity.WARNING,
    title="groups for AMD GPUs",
    meaning="Sources that run as an ordinary user need the group of /dev/kfd; so does reading the cards' state.",
    remedy="`usermod -aG render,video USER`, then log in again",
    look=look,
    needs=("amd_driver",),
)
