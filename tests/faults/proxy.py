"""A JSON-RPC proxy that fails as nodes and the ways to them fail, over HTTP and websocket on one port of 127.0.0.1.

What fails when is drawn from a seed, per method. It talks to a real node, so every answer that is not spoilt is true.
"""

import asyncio
import copy
import json
import random
from collections import Counter
from contextlib import suppress
from enum import StrEnum
from types import TracebackType
from typing import Any, Self

from aiohttp import ClientSession, ClientTimeout, TCPConnector, WSMsgType, web

Json = dict[str, Any]


class Fault(StrEnum):
    REFUSE = "refuse"  # nobody listens: for every method
    RESET = "reset"
    HANG = "hang"
    SLOW = "slow"
    BUSY = "429"
    FAIL = "5xx"
    HALF_JSON = "half JSON"
    WRONG_CHAIN = "wrong chain id"
    LAG = "lagging"
    ALTERNATE = "alternating backends"  # one of two answers comes from a node that lags
    EMPTY_LOGS = "empty logs"
    FORGED_LOG = "forged log"
    WRONG_RECEIPT = "wrong receipt"
    ANSWER_LOST = "executed but the answer was lost"


OUTAGES = (
    Fault.REFUSE, Fault.RESET, Fault.HANG, Fault.SLOW, Fault.BUSY, Fault.FAIL, Fault.HALF_JSON, Fault.WRONG_CHAIN,
    Fault.ANSWER_LOST,
)  # fmt: skip
"""Faults after which no answer, or a true one, is there."""
LIES = tuple(fault for fault in Fault if fault not in OUTAGES)


class _Break(Exception):
    """The connection ends without an answer, or with `text`, or `status`."""

    def __init__(self, *, status: int = 0, text: str = "", headers: dict[str, str] | None = None) -> None:
        super().__init__()
        self.status, self.text, self.headers = status, text, headers or {}


class Proxy:
    """`arm` a fault for some methods (all, if none are named); `struck` counts where it hit. `lag` in blocks."""

    def __init__(self, node_url: str, *, seed: int = 0, lag: int = 3) -> None:
        self._node_url = node_url
        self._random = random.Random(seed)
        self.lag = lag
        self.struck: Counter[tuple[Fault, str]] = Counter()
        self.forged: list[str] = []
        self._fault: Fault | None = None
        self._methods: frozenset[str] = frozenset()
        self._rate = 1.0
        self._turn = 0
        self._port = 0
        self._transports: set[asyncio.Transport] = set()
        self._subscribers: dict[web.WebSocketResponse, list[tuple[str, list[Any]]]] = {}
        self._runner: web.ServerRunner | None = None
        self._site: web.TCPSite | None = None
        self._client: ClientSession | None = None
        self._heads: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._client = ClientSession(connector=TCPConnector(limit=32), timeout=ClientTimeout(total=20))
        self._runner = web.ServerRunner(web.Server(self._serve), shutdown_timeout=0.1)
        await self._runner.setup()
        await self._listen()
        self._heads = asyncio.create_task(self._announce())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._runner
        assert self._client
        assert self._heads
        self._heads.cancel()
        self._cut()
        await self._runner.cleanup()
        await self._client.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self._port}"

    async def arm(self, fault: Fault, *methods: str, rate: float = 1.0) -> None:
        self._fault, self._methods, self._rate = fault, frozenset(methods), rate
        if fault is Fault.REFUSE and self._site:
            await self._site.stop()
            self._site = None
        if fault in (Fault.REFUSE, Fault.WRONG_CHAIN):  # chain ids are asked for on new connections
            self._cut()

    async def disarm(self) -> None:
        was, self._fault = self._fault, None
        if self._site is None:
            await self._listen()
        if was is Fault.WRONG_CHAIN:
            self._cut()

    async def _listen(self) -> None:
        assert self._runner
        self._site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await self._site.start()
        assert self._runner.server
        assert self._runner.addresses
        self._port = self._runner.addresses[0][1]

    def _cut(self) -> None:
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
        if self._fault is None or (self._methods and method not in self._methods):
            return False
        if self._fault is Fault.ALTERNATE:
            self._turn += 1
            return self._turn % 2 == 0
        return self._random.random() < self._rate

    async def _answer(self, asked: Json) -> Json:
        method, fault = asked["method"], self._fault
        if fault is None or not self._strikes(method):
            return await self._forward(asked)
        self.struck[fault, method] += 1
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
                text = json.dumps(await self._forward(asked))
                raise _Break(text=text[: max(1, len(text) // 2)])
            case Fault.ANSWER_LOST:
                await self._forward(asked)
                raise _Break
            case Fault.LAG | Fault.ALTERNATE:
                return await self._lagging(asked)
        return await self._lie(fault, asked)

    async def _forward(self, asked: Json) -> Json:
        if asked["method"] == "eth_subscribe":
            return _result(asked, f"0x{self._random.getrandbits(64):x}")
        assert self._client
        async with self._client.post(self._node_url, json=asked) as answer:
            found: Json = await answer.json()
            return found

    async def _ask(self, method: str, *params: Any) -> Any:
        return (await self._forward({"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)})).get(
            "result"
        )

    # what is not true

    async def _lie(self, fault: Fault, asked: Json) -> Json:
        method = asked["method"]
        answer = await self._forward(asked)
        result = copy.deepcopy(answer.get("result"))
        if fault is Fault.WRONG_CHAIN and method == "eth_chainId":
            return _result(asked, "0x1")
        if fault is Fault.EMPTY_LOGS and method == "eth_getLogs" and isinstance(result, list):
            return _result(asked, [])
        if fault is Fault.FORGED_LOG and method == "eth_getLogs" and isinstance(result, list) and result:
            return _result(asked, [*result, self._forge(result[0])])
        if fault is Fault.WRONG_RECEIPT and method in ("eth_getTransactionReceipt", "eth_getBlockReceipts"):
            for receipt in result if isinstance(result, list) else [result]:
                if isinstance(receipt, dict):
                    receipt["status"] = "0x0" if receipt.get("status") == "0x1" else "0x1"
            return _result(asked, result)
        return answer

    def _forge(self, real: Json) -> Json:
        """A log like a real one of the block, about what does not exist."""
        task = f"{self._random.getrandbits(160):040x}"
        self.forged.append(task)
        data = "0x" + "0" * 24 + task + real["data"][66:]
        return {**real, "data": data, "logIndex": "0xff", "transactionHash": f"0x{self._random.getrandbits(256):064x}"}

    async def _lagging(self, asked: Json) -> Json:
        """The node as it was `lag` blocks ago: what is newer is not there, and a range ends early without a word."""
        method, params = asked["method"], list(asked.get("params", []))
        head = max(0, int(await self._ask("eth_blockNumber"), 16) - self.lag)
        if method == "eth_blockNumber":
            return _result(asked, hex(head))
        if method == "eth_getBlockByNumber":
            wanted = head if params[0] == "latest" else int(params[0], 16)
            return _result(asked, await self._ask(method, hex(wanted), *params[1:]) if wanted <= head else None)
        if method == "eth_getLogs":
            return await self._lagging_logs(asked, params[0], head)
        if (
            method in ("eth_call", "eth_getTransactionCount", "eth_getBalance", "eth_getCode")
            and params[-1] == "latest"
        ):
            return await self._forward({**asked, "params": [*params[:-1], hex(head)]})
        answer = await self._forward(asked)
        found = answer.get("result")
        number = found.get("blockNumber") or found.get("number") if isinstance(found, dict) else None
        return _result(asked, None) if isinstance(number, str) and int(number, 16) > head else answer

    async def _lagging_logs(self, asked: Json, wanted: Json, head: int) -> Json:
        if "blockHash" in wanted:
            block = await self._ask("eth_getBlockByHash", wanted["blockHash"], False)
            if block is None or int(block["number"], 16) > head:
                error = {"code": -32000, "message": "unknown block"}
                return {"jsonrpc": "2.0", "id": asked["id"], "error": error}
            return await self._forward(asked)
        first, end = int(wanted["fromBlock"], 16), min(int(wanted["toBlock"], 16), head)
        if first > end:
            return _result(asked, [])
        return _result(asked, await self._ask("eth_getLogs", {**wanted, "toBlock": hex(end)}))

    # heads

    async def _announce(self) -> None:
        """Passes the node's heads on, and a lagging node's late."""
        assert self._client
        async with self._client.ws_connect(self._node_url) as heads:
            await heads.send_json({"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"]})
            async for message in heads:
                header = json.loads(message.data).get("params", {}).get("result")
                if not isinstance(header, dict):
                    continue
                if self._fault is Fault.LAG:
                    late = max(0, int(header["number"], 16) - self.lag)
                    header = await self._ask("eth_getBlockByNumber", hex(late), False)
                for socket, subscriptions in list(self._subscribers.items()):
                    for subscription, (kind, *wanted) in subscriptions:
                        found = [header] if kind == "newHeads" else await self._announced_logs(header, wanted[0])
                        await self._tell(socket, subscription, found)

    async def _announced_logs(self, header: Json, wanted: Json) -> list[Json]:
        """What the node would announce of a block, spoilt as its answers are."""
        logs: list[Json] = await self._ask("eth_getLogs", {"blockHash": header["hash"], **wanted})
        if self._fault is Fault.EMPTY_LOGS:
            return []
        if self._fault is Fault.FORGED_LOG and logs:
            return [*logs, self._forge(logs[0])]
        return logs

    async def _tell(self, socket: web.WebSocketResponse, subscription: str, found: list[Json]) -> None:
        for one in found:
            params = {"subscription": subscription, "result": one}
            with suppress(ConnectionError, RuntimeError):
                await socket.send_json({"jsonrpc": "2.0", "method": "eth_subscription", "params": params})


def _result(asked: Json, result: Any) -> Json:
    return {"jsonrpc": "2.0", "id": asked["id"], "result": result}
