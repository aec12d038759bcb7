"""Could a crash write memory to disk?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context


async def look(context: Context) -> Seen:
    soft, _hard = context.machine.limit("core")
    return ok("no core dumps") if soft == 0 else failed(f"core dumps of up to {soft:g} bytes")


CHECK = Check(
    id="limit_core_dumps",
    topic=Topic.MACHINE,
    severity=Severity.INFO,
    title="core dumps",
    meaning="The daemon forbids dumps of its own memory, which holds the key; a limit of 0 covers what it starts, too.",
    remedy="LimitCORE=0 in the service, or `ulimit -c 0` in the shell that starts it",
    look=look,
)
