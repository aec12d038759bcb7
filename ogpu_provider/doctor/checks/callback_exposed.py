"""Can strangers reach the callback?"""

import ipaddress

from ogpu_provider.doctor.check import Check, Seen, failed, ok, unknown
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context
from ogpu_provider.doctor.premises import callback_host


async def look(context: Context) -> Seen:
    host = await callback_host(context)
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return unknown(f"{host} is a name, not an address")
    if address.is_unspecified or address.is_global:
        return failed(f"the callback listens on {host}")
    return ok(f"{host} is not reachable from the internet")


CHECK = Check(
    id="callback_exposed",
    topic=Topic.SERVICES,
    severity=Severity.WARNING,
    title="callback's exposure",
    meaning="Only containers of this host post results. Each needs its own token, but strangers can take all places.",
    remedy="set callback.host to auto: the engine's bridge",
    look=look,
    needs=("callback_host",),
)
