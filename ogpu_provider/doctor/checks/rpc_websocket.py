"""Does the node announce blocks by itself?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context
from ogpu_provider.domain.errors import ChainError


async def look(context: Context) -> Seen:
    if not context.network.ws_url:
        return failed("no websocket endpoint is set")
    try:
        return ok(f"announced block {await context.chain.socket_head()}")
    except ChainError as error:
        return failed(str(error))


CHECK = Check(
    id="rpc_websocket",
    topic=Topic.CHAIN,
    severity=Severity.WARNING,
    title="websocket",
    meaning="Without announcements the daemon asks for new blocks again and again, and hears of tasks later.",
    remedy="set network.ws_url to the websocket of the same node",
    look=look,
    needs=("rpc_chain_id",),
    seconds=40.0,
)
