"""Does a real container reach the callback address?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context
from ogpu_provider.doctor.premises import callback_host, callback_port, port_holder
from ogpu_provider.domain.errors import EngineError


async def look(context: Context) -> Seen:
    host, port = await callback_host(context), await callback_port(context)
    if port and await port_holder(context, port):
        return await _reached(context, host, port)
    listener = await context.machine.lend_listener(host, port)
    try:
        return await _reached(context, host, listener.port)
    finally:
        await listener.close()


async def _reached(context: Context, host: str, port: int) -> Seen:
    from ogpu_provider.runtime.trial import Trial

    try:
        outcome = await context.engine.trial(Trial(f"exec 3<>/dev/tcp/{host}/{port} && echo reached"))
    except EngineError as error:
        if error.code == "engine.trial_timeout":
            return failed(f"a container gets no answer from {host}:{port}: a firewall drops its packets")
        raise
    if outcome.code == 0 and "reached" in outcome.output:
        return ok(f"a container reaches {host}:{port}")
    return failed(f"a container does not reach {host}:{port}: {outcome.output.strip()[:200]}")


CHECK = Check(
    id="callback_from_container",
    topic=Topic.SERVICES,
    severity=Severity.ERROR,
    title="callback from a container",
    meaning="Results are posted once. If a container cannot reach the callback, every task ends without a result.",
    remedy="let the host's firewall take connections from the engine's bridges, e.g. `ufw allow in on docker0`",
    look=look,
    needs=("engine_reachable", "callback_host", "callback_port"),
    seconds=60.0,
)
