"""A JSON-RPC proxy that fails as nodes and the ways to them fail, over HTTP and websocket on one port of 127.0.0.1.

What fails when is drawn from a seed, per method. It talks to a real node, so every answer that is not spoilt is true.
"""

import asyncio
import json
import random
from collections import Counter
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from aiohttp import ClientSession, ClientTimeout, TCPConnector, WSMsgType, web

from tests.faults.lies import LIES, NEWS, Fault, Json, Node, absurd
from tests.faults.plan import Plan


class _Break(Exception):
    """The connection ends without an answer, or with `text`, or `status`."""

    def __init__(self, *, status: int = 0, text: str = "", headers: dict[str, str] | None = None) -> None:
        super().__init__()
        self.status, self.text, self.headers = status, text, headers or {}


class Proxy:
    """`arm` a fault for some methods (all, if none are named; NEWS for announcements), or give it a `plan` of many,
    each for one call; `struck` counts where they hit, `asked` every call.
    """

    def __init__(self, node_url: str, *, seed: int = 0, lag: int = 3) -> None:
        self._random = random.Random(seed)
        self._node = Node(node_url, self._random, lag)
        self.struck: Counter[tuple[Fault, str]] = Counter()
        self.asked: Counter[str] = Counter()
        self.plan: Plan | None = None
        self._fault: Fault | None = None
        self._methods: frozenset[str] = frozenset()
        self._rate = 1.0
        self._left: int | None = None
        self._turn = 0
        self._port = 0
        self._transports: set[asyncio.Transport] = set()
        self._subscribers: dict[web.WebSocketResponse, list[tuple[str, list[Any]]]] = {}
        self._runner: web.ServerRunner | None = None
        self._site: web.TCPSite | None = None
        self._heads: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._node.client = ClientSession(connector=TCPConnector(limit=32), timeout=ClientTimeout(total=20))
        self._runner = web.ServerRunner(web.Server(self._serve), shutdown_timeout=0.1)
        await self._runner.setup()
        await self._listen()
        self._heads = asyncio.create_task(self._announce())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._runner
        assert self._node.client
        assert self._heads
        self._heads.cancel()
        self.cut()
        await self._runner.cleanup()
        await self._node.client.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def lag(self) -> int:
        """Blocks."""
        return self._node.lag

    @lag.setter
    def lag(self, blocks: int) -> None:
        self._node.lag = blocks

    @property
    def forged(self) -> list[str]:
        return self._node.forged

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self._port}"

    async def arm(self, fault: Fault, *methods: str, rate: float = 1.0, times: int | None = None) -> None:
        """`rate`: the part of the calls that it hits; `times`: how many at most."""
        self._fault, self._methods, self._rate, self._left = fault, frozenset(methods), rate, times
        if fault is Fault.REFUSE and self._site:
            await self._site.stop()
            self._site = None
        if fault in (Fault.REFUSE, Fault.WRONG_CHAIN):  # chain ids are asked for on new connections
            self.cut()

    async def disarm(self) -> None:
        was, self._fault = self._fault, None
        if self._site is None:
            await self._listen()
        if was is Fault.WRONG_CHAIN:
            self.cut()

    async def _listen(self) -> None:
        assert self._runner
        self._site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await self._site.start()
        assert self._runner.server
        assert self._runner.addresses
        self._port = self._runner.addresses[0][1]

    def cut(self) -> None:
        """Every connection breaks."""
        for transport in self._transports:
            transport.abort()
        self._transports.clear()

    # what is asked

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        assert request.transport is not None
        transport: Any = request.transport
        self._transports.add(transport)
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._serve_ws(request, transport)
        asked = await request.json()
        try:
            body: Any = (
                [await self._answer(one) for one in asked] if isinstance(asked, list) else await self._answer(asked)
            )
        except _Break as fault:
            if not fault.status and not fault.text:
                transport.abort()
            return web.Response(status=fault.status or 200, text=fault.text, headers=fault.headers)
        return web.json_response(body)

    async def _serve_ws(self, request: web.BaseRequest, transport: Any) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        waiting: set[asyncio.Task[None]] = set()
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    task = asyncio.create_task(self._reply(socket, transport, json.loads(message.data)))
                    waiting.add(task)
                    task.add_done_callback(waiting.discard)
        finally:
            self._subscribers.pop(socket, None)
            for task in tuple(waiting):
                task.cancel()
        return socket

    async def _reply(self, socket: web.WebSocketResponse, transport: Any, asked: Json) -> None:
        try:
            answer = await self._answer(asked)
            if asked["method"] == "eth_subscribe":
                self._subscribers.setdefault(socket, []).append((answer["result"], asked["params"]))
            text = json.dumps(answer)
        except _Break as fault:
            if fault.status == 429:
                text = json.dumps({"jsonrpc": "2.0", "id": asked["id"], "error": {"code": 429, "message": "slow down"}})
            elif fault.text and not fault.status:
                text = fault.text
            else:
                transport.abort()
                return
        with suppress(ConnectionError):
            await socket.send_str(text)

    def _strikes(self, method: str) -> bool:
        if self._fault is None or (self._methods and method not in self._methods) or self._left == 0:
            return False
        if self._left is not None:
            self._left -= 1
        if self._fault is Fault.ALTERNATE:
            self._turn += 1
            return self._turn % 2 == 0
        return self._random.random() < self._rate

    def _befalls(self, method: str) -> Fault | None:
        if self.plan and (fault := self.plan.take(method)):
            self.struck[fault, method] += 1
            return fault
        if self._fault is not None and self._strikes(method):
            self.struck[self._fault, method] += 1
            return self._fault
        return None

    def _missed(self, fault: Fault, method: str) -> None:
        """It had nothing to spoil."""
        if self.plan:
            self.plan.put_back(fault, method)
            self.struck[fault, method] -= 1

    async def _answer(self, asked: Json) -> Json:
        method = asked["method"]
        self.asked[method] += 1
        fault = self._befalls(method)
        if fault is None:
            return await self._node.answer(asked)
        match fault:
            case Fault.REFUSE | Fault.RESET:
                raise _Break
            case Fault.HANG:
                await asyncio.sleep(3600)
            case Fault.SLOW:
                await asyncio.sleep(0.15)
            case Fault.BUSY:
                raise _Break(status=429, text="slow down", headers={"Retry-After": "0.3"})
            case Fault.FAIL:
                raise _Break(status=self._random.choice([500, 502, 503]), text="<html>bad gateway</html>")
            case Fault.HALF_JSON:
                text = json.dumps(await self._node.answer(asked))
                raise _Break(text=text[: max(1, len(text) // 2)])
            case Fault.ANSWER_LOST:
                await self._node.answer(asked)
                raise _Break
            case Fault.LAG | Fault.ALTERNATE:
                return await self._node.lagging(asked)
        told = await self._node.lie(fault, asked)
        if self.plan and fault in LIES and told == await self._node.answer(asked):
            self._missed(fault, method)
        return told

    # announcements

    async def _announce(self) -> None:
        """Passes the node's heads and logs on, late, spoilt or not at all where that is the fault."""
        assert self._node.client
        async with self._node.client.ws_connect(self._node.url) as heads:
            await heads.send_json({"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"]})
            async for message in heads:
                header = json.loads(message.data).get("params", {}).get("result")
                if isinstance(header, dict) and self._subscribers:
                    await self._pass_on(header)

    async def _pass_on(self, header: Json) -> None:
        fault = self._befalls(NEWS)
        match fault:
            case Fault.HANG | Fault.REFUSE:
                return
            case Fault.RESET | Fault.BUSY | Fault.FAIL | Fault.ANSWER_LOST:
                self.cut()
                return
            case Fault.SLOW:
                await asyncio.sleep(0.15)
            case Fault.LAG | Fault.ALTERNATE:
                header = await self._node.late(header)
            case Fault.ABSURD_FEE:
                header = absurd(header)
        spoilt = fault not in (Fault.EMPTY_LOGS, Fault.FORGED_LOG)
        for socket, subscriptions in list(self._subscribers.items()):
            for subscription, (kind, *wanted) in subscriptions:
                logs = kind == "logs"
                found = await self._node.announced_logs(header, wanted[0], fault) if logs else [header]
                if logs and not spoilt:
                    spoilt = len(found) != len(await self._node.announced_logs(header, wanted[0], None))
                for one in found:
                    await self._tell(socket, subscription, one, half=fault is Fault.HALF_JSON)
        if fault is not None and not spoilt:
            self._missed(fault, NEWS)

    async def _tell(self, socket: web.WebSocketResponse, subscription: str, one: Json, *, half: bool) -> None:
        params = {"subscription": subscription, "result": one}
        text = json.dumps({"jsonrpc": "2.0", "method": NEWS, "params": params})
        with suppress(ConnectionError, RuntimeError):
            await socket.send_str(text[: len(text) // 2] if half else text)
