"""Are containers kept out of the networks of this host?"""

import re
from pathlib import Path

from ogpu_provider.doctor.check import Check, Seen, failed, ok, skipped, unknown
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context
from ogpu_provider.doctor.premises import SERVICE_UNIT

_CAP_NET_ADMIN = 12


async def look(context: Context) -> Seen:
    """The daemon's own verdict, so that the two never disagree."""
    if context.settings.runtime.engine != "docker":
        return skipped("runtime.engine is processes: there are no containers to keep in")
    problem = await context.engine.unheld()
    if not problem:
        return ok("the rules of sources can be set, and are there for those that run")
    if not await _may_look(context):
        if await context.files.stat(SERVICE_UNIT) is not None:
            return unknown(f"this user may not look, the service may; ask again as root ({problem})")
        return failed(problem, Severity.WARNING)
    return failed(problem, Severity.WARNING if _waived(context) else Severity.ERROR)


async def _may_look(context: Context) -> bool:
    status = await context.files.text(Path("/proc/self/status")) or ""
    held = re.search(r"^CapEff:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return held is None or bool(int(held[1], 16) >> _CAP_NET_ADMIN & 1)


def _waived(context: Context) -> bool:
    """Whether the daemon runs sources all the same; it does so for the policy `internet` only."""
    settings = context.settings
    policies = {settings.runtime.egress, *settings.sources.egress.values()}
    return settings.unfiltered_egress and policies == {"internet"}


CHECK = Check(
    id="egress_rules",
    topic=Topic.SERVICES,
    severity=Severity.ERROR,
    title="egress of containers",
    meaning=(
        "Rules in the firewall keep a source's containers from the local network, a cloud's metadata service and other "
        "people's machines. Where they cannot be set, the daemon starts no source, unless its operator waives them."
    ),
    remedy=(
        "install iptables and run the daemon as root or with CAP_NET_ADMIN (`ogpu-provider service install` does); on "
        "a host in a network of its own, runtime.unfiltered_egress = true waives them"
    ),
    look=look,
    needs=("engine_reachable",),
    seconds=40.0,
)
