"""Is the node on our network?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context


async def look(context: Context) -> Seen:
    found, wanted = await context.chain.chain_id(), context.network.chain_id
    if found != wanted:
        return failed(f"the node is on chain {found}; {context.network.name} is {wanted}")
    return ok(f"chain {found}, which is {context.network.name}")


CHECK = Check(
    id="rpc_chain_id",
    topic=Topic.CHAIN,
    severity=Severity.ERROR,
    title="chain id",
    meaning="Transactions signed for one chain are worth nothing on another.",
    remedy="give the RPC URL of the network that network.name says, or change network.name",
    look=look,
    needs=("rpc_reachable",),
)
