"""Can results of containers be taken at the chosen address?"""

from ogpu_provider.doctor.check import Check, Seen, failed, ok
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context
from ogpu_provider.doctor.premises import callback_host
from ogpu_provider.domain.errors import EngineError


async def look(context: Context) -> Seen:
    try:
        host = await callback_host(context)
    except EngineError as error:
        return failed(str(error))
    why = await context.machine.bindable(host, 0)
    return failed(f"{host}: {why}") if why else ok(host)


CHECK = Check(
    id="callback_host",
    topic=Topic.SERVICES,
    severity=Severity.ERROR,
    title="callback address",
    meaning="Containers post their results to this address; the daemon cannot listen there.",
    remedy="leave callback.host at auto, or set it to an address that this host has on the engine's bridge; an engine "
    "without root has its bridge elsewhere: use one with userns-remap instead",
    look=look,
)
