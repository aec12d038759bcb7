"""Are the OGPU contracts there?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context


async def look(context: Context) -> Seen:
    empty = await context.chain.empty_contracts()
    return failed(f"no contract at {', '.join(empty)}") if empty else ok("Nexus, Terminal and Vault are there")


CHECK = Check(
    id="rpc_contracts",
    topic=Topic.CHAIN,
    severity=Severity.ERROR,
    title="contracts",
    meaning="The node has the right chain id but not the network's contracts: another chain, or a node far behind.",
    remedy="use another RPC endpoint, or wait until this node has caught up",
    look=look,
    needs=("rpc_chain_id",),
)
