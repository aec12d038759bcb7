"""A websocket proxy that counts what a daemon asks of its node, and notes when heads and transactions pass."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from websockets import ConnectionClosed
from websockets.asyncio.client import connect
from websockets.asyncio.server import Server, ServerConnection, serve


class RpcProxy:
    """Every request is counted by method. Times are unix seconds at this process.

    `cpu` says how many CPU seconds the daemon has used, `cpu_at` what it said when a head or a transaction passed.
    """

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._server: Server | None = None
        self.counts: Counter[str] = Counter()
        self.heads: dict[int, float] = {}
        self.sent: dict[str, float] = {}
        self.cpu: Callable[[], float] = lambda: 0.0
        self.cpu_at: dict[int | str, float] = {}

    async def __aenter__(self) -> Self:
        self._server = await serve(self._serve, "127.0.0.1", 0, max_size=None, compression=None)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"ws://127.0.0.1:{next(iter(self._server.sockets)).getsockname()[1]}"

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    async def _serve(self, daemon: ServerConnection) -> None:
        async with connect(self._upstream, max_size=None, compression=None) as node, asyncio.TaskGroup() as group:
            group.create_task(self._up(daemon, node))
            group.create_task(self._down(node, daemon))

    async def _up(self, daemon: Any, node: Any) -> None:
        async for text in daemon:
            message = json.loads(text)
            for call in message if isinstance(message, list) else [message]:
                self.counts[call["method"]] += 1
                if call["method"] == "eth_sendRawTransaction":
                    self.sent.setdefault(call["params"][0], time.time())
                    self.cpu_at.setdefault(call["params"][0], self.cpu())
            await node.send(text)
        await node.close()

    async def _down(self, node: Any, daemon: Any) -> None:
        with suppress(ConnectionClosed):
            await self._forward(node, daemon)

    async def _forward(self, node: Any, daemon: Any) -> None:
        async for text in node:
            if '"eth_subscription"' in text:
                head = json.loads(text)["params"]["result"]
                if isinstance(head, dict) and "number" in head:
                    self.heads.setdefault(int(head["number"], 16), time.time())
                    self.cpu_at.setdefault(int(head["number"], 16), self.cpu())
            await daemon.send(text)
