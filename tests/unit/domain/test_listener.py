"""A listener takes everybody in, and nobody is turned away while no descriptor is left."""

import asyncio
import socket
import subprocess
import sys

import pytest

from ogpu_provider.domain.listener import Listener, streams


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(await reader.readline())
    await writer.drain()
    writer.close()


async def said(port: int, text: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(text)
    answer = await reader.read()
    writer.close()
    return answer


async def test_everybody_is_served_and_nobody_once_it_is_closed() -> None:
    listener = Listener(socket.create_server(("127.0.0.1", 0)), streams(echo, limit=1024))
    port = listener.address[1]
    texts = [b"%d\n" % number for number in range(50)]
    assert await asyncio.gather(*(said(port, text) for text in texts)) == texts
    listener.close()
    with pytest.raises(ConnectionError):
        await said(port, b"late\n")


def test_a_datagram_socket_is_refused() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, pytest.raises(ValueError, match="stream"):
        Listener(sock, streams(echo, limit=1024))


SHORT = """
import asyncio, importlib, os, resource, socket, sys
from ogpu_provider.domain.listener import Listener, streams
from tests.unit.domain.test_listener import echo, said

async def main():
    waits = []
    listener = Listener(socket.create_server(("127.0.0.1", 0)), streams(echo, limit=1024), short=waits.append)
    port = listener.address[1]
    await said(port, b"first\\n")
    made = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
    for one in made:
        one.setblocking(False)
        one.send(b"hello\\n")
    hoard = []
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (40, limits[1]))
    try:
        while True:
            hoard.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass
    await asyncio.sleep(3)
    print("waits", len(waits))
    for one in hoard:
        os.close(one)
    loop = asyncio.get_running_loop()
    print("answers", [await loop.sock_recv(one, 100) for one in made])

with asyncio.Runner(loop_factory=importlib.import_module(sys.argv[1]).new_event_loop) as runner:
    runner.run(main())
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_connections_wait_while_no_descriptor_is_left_and_the_process_does_not_spin(loop: str) -> None:
    ran = subprocess.run([sys.executable, "-c", SHORT, loop], capture_output=True, text=True, timeout=120, check=True)
    waits, answers = ran.stdout.splitlines()
    assert answers == f"answers {[b'hello' + bytes([10])] * 3}"
    assert 1 <= int(waits.split()[1]) <= 10, "one look every half a second, at most"
    assert ran.stderr == ""
