"""The network below a client of strangers: what names stand for, and every connection that is made, counted."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import anyio
import httpcore

PUBLIC = "1.1.1.1"
Connect = Callable[[str, int], Awaitable[httpcore.AsyncNetworkStream]]


class Sockets(httpcore.AsyncNetworkBackend):
    """`connections` are the addresses and ports that were connected to."""

    def __init__(self, connect: Connect) -> None:
        self.connections: list[tuple[str, int]] = []
        self._connect = connect

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        self.connections.append((host, port))
        return await self._connect(host, port)

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)


def internet(port: int) -> Sockets:
    """What is sent to the public address arrives at `port` of this host; what is sent anywhere else goes there."""
    network = httpcore.AnyIOBackend()

    async def connect(host: str, wanted: int) -> httpcore.AsyncNetworkStream:
        return await network.connect_tcp(*(("127.0.0.1", port) if host == PUBLIC else (host, wanted)))

    return Sockets(connect)


def answering(answer: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") -> Sockets:
    """Nothing is connected: every request gets `answer`."""

    async def connect(host: str, port: int) -> httpcore.AsyncNetworkStream:
        return httpcore.AsyncMockStream([answer])

    return Sockets(connect)


class Names:
    """A resolver that a stranger owns: its answers, one after the other, the last one again and again."""

    def __init__(self, *answers: list[str]) -> None:
        self._answers = answers
        self.asked = 0

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked += 1
        return self._answers[min(self.asked, len(self._answers)) - 1]
