"""Is it the journal of this key and network?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context
from ogpu_provider.doctor.premises import provider


async def look(context: Context) -> Seen:
    facts = await context.books.journal()
    if facts is None or facts.provider is None:
        return ok("there is no journal yet")
    if facts.chain_id != context.network.chain_id:
        return failed(f"it is of chain {facts.chain_id}; {context.network.name} is {context.network.chain_id}")
    ours = await provider(context)
    return ok(f"of {ours}") if facts.provider == ours else failed(f"it is of {facts.provider}; the key is of {ours}")


CHECK = Check(
    id="journal_owner",
    topic=Topic.FILES,
    severity=Severity.ERROR,
    title="journal's owner",
    meaning="A journal belongs to one key on one chain; the daemon refuses any other, so that nothing is mixed up.",
    remedy="use a data_dir for each key and network",
    look=look,
    needs=("journal_sound", "key_present"),
)
