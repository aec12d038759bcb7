"""Can others read the journal?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context
from ogpu_provider.doctor.premises import open_bits


async def look(context: Context) -> Seen:
    facts = await context.files.stat(context.settings.journal)
    if facts is None:
        return ok("there is no journal yet")
    if facts.uid not in (context.machine.uid, 0):
        return failed(
            f"it belongs to user {facts.uid}", Severity.ERROR, "run the daemon as the user that owns it", mendable=False
        )
    others = list(open_bits(facts.mode))
    return failed(f"it is open to {' and '.join(others)}") if others else ok("it is private")


async def fix(context: Context) -> None:
    await context.files.chmod(context.settings.journal, 0o600)


CHECK = Check(
    id="journal_private",
    topic=Topic.FILES,
    severity=Severity.WARNING,
    title="journal's mode",
    meaning="The journal holds inputs and results of other people's tasks, and signed transactions.",
    remedy="chmod 600 on provider.db in the data directory",
    look=look,
    fix=fix,
)
