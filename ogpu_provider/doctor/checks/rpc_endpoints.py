"""Is every RPC endpoint that the settings name worth having?"""

from collections.abc import Iterator, Sequence

from ogpu_provider.doctor.check import Check, Seen, failed, ok, skipped
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context, EndpointFacts

LAG = 10
"""Blocks that an endpoint may be behind the newest one seen; the chain makes about one a second."""


async def look(context: Context) -> Seen:
    found = await context.chain.endpoints()
    if len(found) == 1:
        return skipped("one endpoint is set, and has checks of its own")
    wrong = list(_wrong(found, context.network.chain_id))
    if not wrong:
        heads = ", ".join(f"{end.name} at block {end.head}" for end in found)
        return ok(f"{len(found)} endpoints: {heads}")
    return failed("; ".join(wrong), Severity.ERROR if len(wrong) == len(found) else None)


def _wrong(found: Sequence[EndpointFacts], chain_id: int) -> Iterator[str]:
    newest = max((end.head or 0 for end in found if end.chain_id == chain_id), default=0)
    for end in found:
        if end.problem:
            yield f"{end.name}: {end.problem}"
        elif end.chain_id != chain_id:
            yield f"{end.name} is on chain {end.chain_id}, not on {chain_id}"
        elif newest - (end.head or 0) > LAG:
            yield f"{end.name} is {newest - (end.head or 0)} blocks behind"


CHECK = Check(
    id="rpc_endpoints",
    topic=Topic.CHAIN,
    severity=Severity.WARNING,
    title="all RPC endpoints",
    meaning=(
        "Of several endpoints the daemon leaves out those that fail, lag or are on another network. What is left out "
        "neither replaces another nor bears witness against it."
    ),
    remedy="correct network.rpc_url and network.rpc_urls, or remove the endpoint until it is in order",
    look=look,
    seconds=25.0,
)
