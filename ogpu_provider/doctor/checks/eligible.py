"""Does the Vault let this provider work?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.judgement import amount
from ogpu_provider.doctor.ports import Context
from ogpu_provider.doctor.premises import provider


async def look(context: Context) -> Seen:
    account, terms = await context.chain.vault(await provider(context)), await context.chain.terms()
    locked = amount(account.lockup, context.network.currency)
    if account.eligible:
        return ok(f"{locked} locked" + (", whitelisted" if account.whitelisted else ""))
    return failed(f"{locked} locked; {amount(terms.min_lockup_per_source, context.network.currency)} is the least")


CHECK = Check(
    id="eligible",
    topic=Topic.ACCOUNT,
    severity=Severity.ERROR,
    title="eligibility",
    meaning="Without enough stake, registrations are refused and attempts fail.",
    remedy="deposit and lock the difference: `ogpu-provider register`, or a deposit by the master and then lock",
    look=look,
    needs=("key_present", "rpc_contracts"),
)
