"""Does the node answer?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context
from ogpu_provider.domain.errors import ChainError


async def look(context: Context) -> Seen:
    try:
        await context.chain.chain_id()
    except ChainError as error:
        return failed(str(error))
    return ok("the node answers")


CHECK = Check(
    id="rpc_reachable",
    topic=Topic.CHAIN,
    severity=Severity.ERROR,
    title="RPC endpoint",
    meaning="Without a node there are no tasks to see, and nothing can be attempted or submitted.",
    remedy="check network.rpc_url, this host's DNS and its way out; a proxy's variables are not used",
    look=look,
)
