"""What the gateway's two halves tell each other: JSON objects, one a line, over a socket that only they hold.

Nothing on it is durable, nor need it be: what counts stands in the database, and both halves end together. Its end is
how one hears that the other is gone, however that went.

    begin            publishes  first of all: for which network and client
    rung             either   something was written that the other half may wait for
    planned          answers  there is a transaction to send
    asked, answered  answers, publishes   a question to the chain about a wallet's signature, and its answer
    ready, failed    answers  it listens; it cannot, and why
    chain            publishes  the head's time and the balance in the Vault, once a block
    settled          publishes  an order whose payment is in escrow, or will never be
    measured         publishes  what an operator watches
"""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any, Self

LONGEST = 64 << 10
"""Bytes of a message."""


class Line:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._rung = False

    @classmethod
    async def over(cls, end: socket.socket) -> Self:
        return cls(*await asyncio.open_connection(sock=end, limit=LONGEST))

    def tell(self, what: str, **terms: Any) -> None:
        """Returns at once; nothing happens where the other half is gone."""
        if not self._writer.is_closing():
            self._writer.write(json.dumps({"what": what, **terms}).encode() + b"\n")

    def ring(self) -> None:
        """Say "rung" once for all that is written before the loop goes on."""
        if not self._rung:
            self._rung = True
            asyncio.get_running_loop().call_soon(self._ring)

    async def messages(self) -> AsyncIterator[dict[str, Any]]:
        """What the other half tells, until it is gone."""
        try:
            while line := await self._reader.readline():
                yield json.loads(line)
        except (ConnectionError, ValueError):  # cut off within a line
            return

    def close(self) -> None:
        self._writer.close()

    def _ring(self) -> None:
        self._rung = False
        self.tell("rung")
