"""A node that is some blocks behind another one, as replicas behind a public address are."""

import json
from types import TracebackType
from typing import Any, Self

from aiohttp import ClientSession, web

STATE = ("eth_call", "eth_getBalance", "eth_getCode", "eth_getTransactionCount")


class Replica:
    """`async with Replica(url, behind=5) as replica`; `behind` may be changed. Sends it passes on; `asked` counts."""

    def __init__(self, url: str, behind: int) -> None:
        self._of = url
        self.behind = behind
        self.url = ""
        self.asked = 0

    async def __aenter__(self) -> Self:
        self._client = ClientSession()
        self._runner = web.ServerRunner(web.Server(self._serve), shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()
        await self._client.close()

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        asked = json.loads(await request.read())
        head = max(0, int((await self._ask("eth_blockNumber"))["result"], 16) - self.behind)
        many = asked if isinstance(asked, list) else [asked]
        answers = [{**await self._answer(one["method"], list(one["params"]), head), "id": one["id"]} for one in many]
        return web.json_response(answers if isinstance(asked, list) else answers[0])

    async def _answer(self, method: str, params: list[Any], head: int) -> dict[str, Any]:
        self.asked += 1
        if method == "eth_blockNumber":
            return {"jsonrpc": "2.0", "result": hex(head)}
        if method in STATE:
            params[-1] = hex(head)
        elif method == "eth_getBlockByNumber" and params[0] == "latest":
            params[0] = hex(head)
        elif method == "eth_getLogs":
            if int(params[0]["fromBlock"], 16) > head:
                return {"jsonrpc": "2.0", "result": []}
            params[0] = {**params[0], "toBlock": hex(head)}
        answer = await self._ask(method, *params)
        found = answer.get("result")
        newer = isinstance(found, dict) and int(found.get("blockNumber") or "0x0", 16) > head
        return {"jsonrpc": "2.0", "result": None} if newer else answer

    async def _ask(self, method: str, *params: Any) -> dict[str, Any]:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        async with self._client.post(self._of, json=body) as answer:
            found: dict[str, Any] = await answer.json()
            return found
