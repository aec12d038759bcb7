"""Do new blocks arrive at the node?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context

WATCHED, PAUSE = 15.0, 0.5


async def look(context: Context) -> Seen:
    first, _ = await context.chain.head()
    for _ in range(int(WATCHED / PAUSE)):
        await context.clock.sleep(PAUSE)
        number, _ = await context.chain.head()
        if number > first:
            return ok(f"block {number}")
    return failed(f"block {first} has been the newest for {WATCHED:g} s")


CHECK = Check(
    id="rpc_head_moves",
    topic=Topic.CHAIN,
    severity=Severity.ERROR,
    title="new blocks",
    meaning="The chain makes a block every second or so. One that stands still shows no tasks and takes nothing.",
    remedy="use another RPC endpoint; if all of them stand, the chain does: see the network's announcements",
    look=look,
    needs=("rpc_chain_id",),
    seconds=40.0,
)
