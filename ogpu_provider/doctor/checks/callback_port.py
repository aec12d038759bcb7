"""Is the callback's port free, or ours?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context
from ogpu_provider.doctor.premises import callback_host, callback_port, port_holder


async def look(context: Context) -> Seen:
    port = await callback_port(context)
    if port == 0:
        return ok("a free port is chosen at the first start")
    if who := await port_holder(context, port):
        return ok(f"port {port}, held by {who}")
    why = await context.machine.bindable(await callback_host(context), port)
    return failed(f"port {port}: {why}") if why else ok(f"port {port} is free")


CHECK = Check(
    id="callback_port",
    topic=Topic.SERVICES,
    severity=Severity.ERROR,
    title="callback port",
    meaning="Another program listens on the port that running containers post to: the daemon cannot start.",
    remedy="stop the other program (`ss -ltnp` shows it), or set callback.port; projects are then started anew",
    look=look,
    needs=("callback_host",),
)
