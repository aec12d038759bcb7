"""Do a master and this provider know each other?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context
from ogpu_provider.doctor.premises import provider


async def look(context: Context) -> Seen:
    pairing = await context.chain.pairing(await provider(context))
    if pairing.announced and pairing.master is not None:
        return ok(f"master {pairing.master}")
    if pairing.announced:
        return failed("a master announced this provider; the provider has not announced its master")
    return failed("no master has announced this provider")


CHECK = Check(
    id="paired",
    topic=Topic.ACCOUNT,
    severity=Severity.ERROR,
    title="pairing",
    meaning="Earnings go to the master. A provider without one may neither register nor attempt.",
    remedy="`ogpu-provider register` prints the master's transaction, then announces the master from this side",
    look=look,
    needs=("key_present", "rpc_contracts"),
)
