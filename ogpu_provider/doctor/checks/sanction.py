"""Has the account been sanctioned?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.judgement import amount
from ogpu_provider.doctor.ports import Context
from ogpu_provider.doctor.premises import provider


async def look(context: Context) -> Seen:
    sanctioned = (await context.chain.vault(await provider(context))).sanctioned
    return failed(amount(sanctioned, context.network.currency)) if sanctioned else ok("none")


CHECK = Check(
    id="sanction",
    topic=Topic.ACCOUNT,
    severity=Severity.ERROR,
    title="sanction",
    meaning="A judge has sanctioned this provider: attempts that were not kept, or wrong results.",
    remedy="ask the network why; `ogpu-provider tasks list` shows what failed here. A judge can waive it",
    look=look,
    needs=("key_present", "rpc_contracts"),
)
