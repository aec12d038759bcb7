"""Hands TCP connections on: a container's 127.0.0.1 to this host's, both by the same port.

    127.0.0.1:P in the container ──▶ gateway:P on the bridge ──▶ 127.0.0.1:P on this host

What listens on this host is on loopback only, and stays so; the images of sources are named by 127.0.0.1 as well. The
container's half runs this very file: `python relay.py FROM_HOST TO_HOST PORT...`; nothing but the standard library.
"""

import asyncio
import contextlib
import socket
import sys
from collections.abc import Iterable

FREEBIND = 15
"""IP_FREEBIND of linux/in.h: the bridge may come up later."""


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.close()


async def listen(at: str, to: str, ports: Iterable[int]) -> list[asyncio.Server]:
    """One listener for each port, on address `at`."""
    return [await _relay(at, to, port) for port in ports]


async def _relay(at: str, to: str, port: int) -> asyncio.Server:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(to, port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))

    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.setsockopt(socket.IPPROTO_IP, FREEBIND, 1)
    listening.bind((at, port))
    return await asyncio.start_server(connected, sock=listening)


async def _forever(at: str, to: str, ports: list[int]) -> None:
    await listen(at, to, ports)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_forever(sys.argv[1], sys.argv[2], [int(word) for word in sys.argv[3:]]))
