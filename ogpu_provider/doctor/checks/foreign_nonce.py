"""Does another daemon use this key?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok, skipped
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context
from ogpu_provider.doctor.premises import provider
from ogpu_provider.domain.errors import ForeignNonce


async def look(context: Context) -> Seen:
    facts = await context.books.journal()
    if facts is None:
        return skipped("there is no journal yet, so there is nothing to compare")
    if facts.ended.startswith(f"{ForeignNonce.default_code}:"):
        return failed(f"it ended the last daemon: {facts.ended}", Severity.ERROR)
    if facts.highest_nonce is None:
        return skipped("this journal has signed nothing yet, so there is nothing to compare")
    count = await context.chain.nonce(await provider(context))
    if count > facts.highest_nonce + 1:
        extra = count - facts.highest_nonce - 1
        return failed(f"the chain has {extra} transaction(s) of this key that are newer than the journal's last")
    return ok(f"{count} transactions, the newest ones from this journal")


CHECK = Check(
    id="foreign_nonce",
    topic=Topic.ACCOUNT,
    severity=Severity.WARNING,
    title="another user of this key",
    meaning=(
        "Somebody else signs with this key: a second daemon, an old installation, you by hand, or a thief. Two "
        "daemons with one key take each other's transaction numbers, and promises are broken: a daemon that sees it "
        "ends with chain.foreign_nonce."
    ),
    remedy=(
        "find what else sends with the key and stop it, then start the daemon again; if you cannot explain those "
        "transactions, rotate the key now"
    ),
    look=look,
    needs=("journal_owner", "rpc_contracts"),
)
