"""Takes connections in, and waits where no descriptor is left for one more.

asyncio's own server tries a hundred times at once then, and a second later a hundred times for each of those: the
process spins, and fills its log, for as long as the shortage lasts. uvloop's sends every caller away without a word.
Here a connection waits in the socket's backlog.
"""

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable

PAUSE_S = 0.5
_SHORT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def streams(serve: Serve, *, limit: int) -> Callable[[], asyncio.BaseProtocol]:
    """What calls `serve` for a connection. `limit` in bytes: a reader's buffer."""
    return lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader(limit=limit), serve)


class Listener:
    """Makes a `protocol` for each connection of a listening socket, which is its own from now on. `short` is called
    with the error each time that a connection has to wait.

    Raises ValueError for a socket that is no stream.
    """

    def __init__(
        self,
        sock: socket.socket,
        protocol: Callable[[], asyncio.BaseProtocol],
        *,
        short: Callable[[OSError], None] = lambda _: None,
    ) -> None:
        if sock.type != socket.SOCK_STREAM:
            raise ValueError("not a stream socket")
        sock.setblocking(False)
        self._sock = sock
        self._protocol = protocol
        self._short = short
        self._accepting = asyncio.get_running_loop().create_task(self._accept(), name="listener")

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, port, *_ = self._sock.getsockname()
        return host, port

    def close(self) -> None:
        """No more connections; those that are open stay."""
        self._accepting.cancel()
        self._accepting.get_loop().remove_reader(self._sock)  # at once: its number may be another's in a moment
        self._sock.close()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(self._sock)
                await loop.connect_accepted_socket(self._protocol, connection)
            except OSError as error:
                if error.errno in _SHORT:
                    self._short(error)
                    await asyncio.sleep(PAUSE_S)
                else:  # whoever wanted to connect has left already
                    await asyncio.sleep(0)
