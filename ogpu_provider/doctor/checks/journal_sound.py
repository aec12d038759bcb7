"""Is the journal whole, and of this release?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context
from ogpu_provider.domain.errors import StoreError


async def look(context: Context) -> Seen:
    try:
        facts = await context.books.journal()
    except StoreError as error:
        if error.code == "store.older_schema":
            return ok("of an older release; the daemon migrates it when it starts")
        return failed(str(error), remedy=error.remedy)
    if facts is None:
        return ok("there is no journal yet")
    return failed("; ".join(facts.damage)[:300]) if facts.damage else ok("whole")


CHECK = Check(
    id="journal_sound",
    topic=Topic.FILES,
    severity=Severity.ERROR,
    title="journal's soundness",
    meaning="The journal says what was signed and sent. A damaged one may not be believed; the daemon refuses it.",
    remedy="stop the daemon, move the file away to start a new journal from the chain, or restore a copy",
    look=look,
)
