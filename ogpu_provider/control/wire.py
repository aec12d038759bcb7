"""The socket that the daemon and the commands meet at, and the lines on it.

A line is one JSON document. Request: `{"verb": "pause", "args": {...}}`. Answer: `{"ok": ...}`, or
`{"error": {"code", "message", "remedy"}}`.
"""

import contextlib
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

SOCKET_NAME = "control.sock"
REQUEST_LIMIT = 64 * 1024
ANSWER_LIMIT = 32 * 1024 * 1024
"""Bytes in one line."""


@contextlib.contextmanager
def reachable(path: Path) -> Iterator[str]:
    """A name for the socket that fits into a socket address, which ends at 107 bytes whatever the directory's depth.

    Raises OSError if the directory is not there. Holds while inside the `with`.
    """
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def peer_uid(connection: socket.socket) -> int:
    """Who opened the other end, as the kernel knows it."""
    _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(uid)
