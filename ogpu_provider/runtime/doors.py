"""Ports of this host that lead into containers: free ones to give away, and those that a source may call."""

import ipaddress
import socket
from collections.abc import Iterable, Sequence

from ogpu_provider.runtime.compose.render import Plan
from ogpu_provider.runtime.container import Container
from ogpu_provider.runtime.egress.rules import Endpoint


def free_port(host: str) -> int:
    """A port that is free now. Nothing holds it until the engine binds it; losing that race is a failed start."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def planned(plan: Plan) -> list[Endpoint]:
    """The doors of a project that is about to be made."""
    ports = [port for service in plan.services.values() for port in service.get("ports", ())]
    return _reachable((port["host_ip"], port["published"], port["protocol"]) for port in ports)


def found(containers: Sequence[Container]) -> list[Endpoint]:
    """The doors of containers that are there already."""
    bindings = [each.raw.get("HostConfig", {}).get("PortBindings") or {} for each in containers]
    return _reachable(
        (row.get("HostIp", ""), row.get("HostPort", ""), name.partition("/")[2])
        for each in bindings
        for name, rows in each.items()
        for row in rows or ()
    )


def _reachable(published: Iterable[tuple[str, str, str]]) -> list[Endpoint]:
    """What a source's containers may call of their own published ports: those that are not on loopback."""
    return [
        Endpoint(host, int(port), protocol)
        for host, port, protocol in published
        if port.isdigit() and not ipaddress.ip_address(host or "0.0.0.0").is_loopback  # noqa: S104 - only compared
    ]
