"""A JSON-RPC node on 127.0.0.1, over HTTP and websocket, that answers as a test tells it to, faults included."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from websockets.asyncio.server import Server, ServerConnection, serve

from ogpu_provider.chain.networks import Network, devnet

Reply = Callable[[str, list[Any]], Any]
"""Method and parameters to a result. It may raise Refusal, or Fault."""


class Refusal(Exception):
    """A JSON-RPC error."""

    def __init__(self, code: int, message: str, data: object = None) -> None:
        super().__init__(message)
        self.error = {"code": code, "message": message, "data": data}


class Fault(Exception):
    """What a broken node does instead of answering: `status` over HTTP (with `retry_after`, in its words), `text` as
    the body or message, or nothing at all (`silent`), or the end of the connection (`drop`)."""

    def __init__(
        self, *, status: int = 0, text: str = "", silent: bool = False, drop: bool = False, retry_after: str = ""
    ) -> None:
        super().__init__()
        self.status, self.text, self.silent, self.drop = status, text, silent, drop
        self.retry_after = retry_after


class FakeNode:
    """`network` is what it pretends to be: the devnet's chain id, and code at every address."""

    def __init__(self, reply: Reply | None = None) -> None:
        self.reply = reply or (lambda method, params: [method, *params])
        self.chain_id = devnet("http://unused").chain_id
        self.code = "0x6001"
        self.asked: Counter[str] = Counter()
        self.http_connections = 0
        self.ws_connections = 0
        self.http_requests = 0
        self._http: asyncio.Server | None = None
        self._ws: Server | None = None
        self._sockets: set[ServerConnection] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._subscriptions: dict[ServerConnection, str] = {}
        self._ws_port = 0

    async def __aenter__(self) -> Self:
        self._http = await asyncio.start_server(self._serve_http, "127.0.0.1", 0)
        await self.open_socket()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close_socket()
        assert self._http is not None
        self._http.close()
        for writer in list(self._writers):
            writer.close()

    async def open_socket(self) -> None:
        self._ws = await serve(self._serve_ws, "127.0.0.1", self._ws_port, ping_interval=None)
        self._ws_port = next(iter(self._ws.sockets)).getsockname()[1]

    async def close_socket(self) -> None:
        """The websocket endpoint goes away, with every connection to it."""
        if self._ws is not None:
            for socket in list(self._sockets):
                socket.transport.abort()
            self._ws.close()
            await self._ws.wait_closed()
            self._ws = None

    @property
    def http_url(self) -> str:
        assert self._http is not None
        return f"http://127.0.0.1:{self._http.sockets[0].getsockname()[1]}"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self._ws_port}"

    def network(self, *, http: bool = True, ws: bool = True) -> Network:
        return devnet(self.http_url if http else "", self.ws_url if ws else "")

    async def announce(self, header: dict[str, Any]) -> None:
        """Send a new head to every subscriber."""
        for socket, subscription in list(self._subscriptions.items()):
            params = {"subscription": subscription, "result": header}
            await socket.send(json.dumps({"jsonrpc": "2.0", "method": "eth_subscription", "params": params}))

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        method, params = request["method"], request["params"]
        self.asked[method] += 1
        answer = {"jsonrpc": "2.0", "id": request["id"]}
        try:
            if method == "eth_chainId":
                return {**answer, "result": hex(self.chain_id)}
            if method == "eth_getCode":
                return {**answer, "result": self.code}
            return {**answer, "result": self.reply(method, params)}
        except Refusal as refusal:
            return {**answer, "error": refusal.error}

    async def _serve_ws(self, socket: ServerConnection) -> None:
        self.ws_connections += 1
        self._sockets.add(socket)
        try:
            async for text in socket:
                request = json.loads(text)
                try:
                    if request["method"] == "eth_subscribe":
                        self._subscriptions[socket] = "0x" + "5b" * 16
                        self.asked["eth_subscribe"] += 1
                        result = {"jsonrpc": "2.0", "id": request["id"], "result": self._subscriptions[socket]}
                        await socket.send(json.dumps(result))
                        continue
                    await socket.send(json.dumps(self._answer(request)))
                except Fault as fault:
                    if fault.drop:
                        socket.transport.abort()
                    elif not fault.silent:
                        await socket.send(fault.text)
        finally:
            self._sockets.discard(socket)
            self._subscriptions.pop(socket, None)

    async def _serve_http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.http_connections += 1
        self._writers.add(writer)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(
                    int(line.split(b":")[1])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length")
                )
                if not await self._respond(json.loads(await reader.readexactly(length)), writer):
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _respond(self, request: Any, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection stays open."""
        self.http_requests += 1
        status, body, more = 200, "", ""
        try:
            answer = (
                [self._answer(one) for one in reversed(request)] if isinstance(request, list) else self._answer(request)
            )
            body = json.dumps(answer)
        except Fault as fault:
            if fault.drop:
                writer.transport.abort()
                return False
            if fault.silent:
                await asyncio.sleep(3600)
            status, body = fault.status or 200, fault.text
            more = f"Retry-After: {fault.retry_after}\r\n" if fault.retry_after else ""
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body.encode())}\r\n"
        writer.write((head + more + "\r\n" + body).encode())
        await writer.drain()
        return True
