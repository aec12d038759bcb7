"""How long does the node take to answer?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context

ENOUGH, ROUNDS = 0.5, 3


async def look(context: Context) -> Seen:
    times = []
    for _ in range(ROUNDS):
        start = context.clock.monotonic()
        await context.chain.head()
        times.append(context.clock.monotonic() - start)
    best = min(times)
    text = f"{best * 1000:.0f} ms for a question, best of {ROUNDS}"
    return ok(text) if best <= ENOUGH else failed(text)


CHECK = Check(
    id="rpc_latency",
    topic=Topic.CHAIN,
    severity=Severity.WARNING,
    title="node's latency",
    meaning="First-response tasks are a race: half a second on the way to the node is often the difference.",
    remedy="use a nearer RPC endpoint, best a node of your own",
    look=look,
    needs=("rpc_reachable",),
)
