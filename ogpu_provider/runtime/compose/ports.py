"""Published ports, short and long. Where they are bound is our choice."""

import re

from ogpu_provider.runtime.compose.model import SERVICE_PORT, Port
from ogpu_provider.runtime.compose.reader import Field

_SHORT = re.compile(
    r"(?:(?P<ip>\[[0-9a-fA-F:]{2,39}\]|[0-9]{1,3}(?:\.[0-9]{1,3}){3}):)?(?:(?P<host>[0-9]{0,5}):)?(?P<container>[0-9]{1,5})"
    r"(?:/(?P<protocol>tcp|udp))?"
)
_LOWEST_HOST_PORT = 1024


def ports(field: Field) -> tuple[Port, ...]:
    found = (_long(item) if item.is_mapping else _short(item) for item in field.items())
    return tuple(dict.fromkeys(port for port in found if port is not None))


def expose(field: Field) -> tuple[str, ...]:
    found = []
    for item, text in field.each():
        match = re.fullmatch(r"([1-9][0-9]{0,4})(?:/(?:tcp|udp))?", text)
        if match and int(match[1]) < 65536:
            found.append(text)
        else:
            item.refuse("compose.type", f"{text[:40]!r} is not a port")
    return tuple(found)


def _short(item: Field) -> Port | None:
    text = item.text()
    if text is None:
        return None
    match = _SHORT.fullmatch(text)
    if not match:
        item.refuse(
            "compose.type",
            f"{text[:60]!r} is not host:container",
            "write one port a line, like 8080:80; ranges are not given",
        )
        return None
    host = int(match["host"]) if match["host"] else None
    return _checked(item, int(match["container"]), host, match["protocol"] or "tcp", match["ip"] or "")


def _long(item: Field) -> Port | None:
    target = host = None
    protocol, address = "tcp", ""
    for key, value in item.entries():
        match key:
            case "target":
                target = value.number()
            case "published":
                host = value.number()
            case "protocol":
                protocol = value.text() or "tcp"
            case "host_ip":
                address = value.text() or ""
            case "mode":
                if value.text() != "host":
                    value.note("ports are bound on this host only")
            case "name" | "app_protocol":
                value.text()
            case _:
                value.refuse("compose.unknown_key", "not part of a port")
    if target is None or protocol not in ("tcp", "udp"):
        item.refuse("compose.type", "a port needs a target, and tcp or udp")
        return None
    return _checked(item, target, host, protocol, address)


def _checked(item: Field, container: int, host: int | None, protocol: str, address: str) -> Port | None:
    if not 0 < container < 65536 or (host is not None and not 0 <= host < 65536):
        item.refuse("compose.type", "a port is between 1 and 65535")
        return None
    if container == SERVICE_PORT and protocol == "tcp":
        return Port(container, None)
    if not host:
        item.note("reachable by the project's own services, not published")
        return None
    if host < _LOWEST_HOST_PORT:
        item.refuse("compose.port", f"host port {host}; ports below {_LOWEST_HOST_PORT} are the host's own")
        return None
    where = f"instead of {address}" if address else "only"
    item.note(f"host port {host} on the engine's bridge address {where}")
    return Port(container, host, protocol)
