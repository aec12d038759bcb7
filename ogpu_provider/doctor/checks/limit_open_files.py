"""How many files may this user have open?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context

LEAST, ENOUGH = 256, 1024


async def look(context: Context) -> Seen:
    soft, hard = context.machine.limit("nofile")
    text = f"{soft:g} open files at once (at most {hard:g})"
    if soft >= ENOUGH:
        return ok(text)
    return failed(text, Severity.ERROR if soft < LEAST else None)


CHECK = Check(
    id="limit_open_files",
    topic=Topic.MACHINE,
    severity=Severity.WARNING,
    title="open files",
    meaning="Connections of containers, of the node and of the journal are open files; at the limit results are lost.",
    remedy="raise it to 4096: LimitNOFILE= in the service, or `ulimit -n 4096` in the shell that starts it",
    look=look,
)
