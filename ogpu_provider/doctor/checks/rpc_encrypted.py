"""Can somebody on the way change what the node says?"""

import ipaddress
from urllib.parse import urlsplit

from ogpu_provider.doctor.check import Check, Seen, failed, ok
from ogpu_provider.doctor.finding import Severity, Topic
from ogpu_provider.doctor.ports import Context


async def look(context: Context) -> Seen:
    named = (context.network.http_url, context.network.ws_url, *context.settings.network.rpc_urls)
    plain = [url for url in named if url and not _safe(url)]
    hosts = sorted({urlsplit(url).hostname or "" for url in plain})
    return failed(f"not encrypted: {', '.join(hosts)}") if plain else ok("encrypted, or on this host")


def _safe(url: str) -> bool:
    parts = urlsplit(url)
    if parts.scheme in ("https", "wss") or parts.hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False


CHECK = Check(
    id="rpc_encrypted",
    topic=Topic.CHAIN,
    severity=Severity.WARNING,
    title="encrypted RPC",
    meaning="Whoever is on the way can invent tasks or hide payments; the daemon would work for nothing.",
    remedy="use https:// and wss:// endpoints, or a tunnel that ends on this host",
    look=look,
)
