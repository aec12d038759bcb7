"""Where the Tasks API listens."""

import asyncio
import socket

from ogpu_provider.domain.errors import ConfigError

HELD_S = 5.0
"""So long somebody who was just killed may still hold an address."""


async def taken(host: str, port: int) -> socket.socket:
    """`bound`, with patience."""
    until = asyncio.get_running_loop().time() + HELD_S
    while True:
        try:
            return bound(host, port)
        except ConfigError:
            if asyncio.get_running_loop().time() > until:
                raise
        await asyncio.sleep(0.05)


def bound(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises ConfigError gateway.address."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise ConfigError(
            f"the Tasks API cannot listen on {host} port {port}: {error.strerror or error}",
            code="gateway.address",
            remedy="set gateway.host and gateway.port to what is free on this host",
        ) from error
