"""A node's answers, some of them spoilt: what a lagging or a lying node would say."""

import copy
import random
from enum import StrEnum
from typing import Any

from aiohttp import ClientSession

Json = dict[str, Any]
NEWS = "eth_subscription"
"""The name under which announcements are spoilt."""


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
    WRONG_NONCE = "wrong nonce"
    ABSURD_FEE = "absurd fee"
    ANSWER_LOST = "executed but the answer was lost"


OUTAGES = (
    Fault.REFUSE, Fault.RESET, Fault.HANG, Fault.SLOW, Fault.BUSY, Fault.FAIL, Fault.HALF_JSON, Fault.WRONG_CHAIN,
    Fault.ANSWER_LOST,
)  # fmt: skip
"""Faults after which no answer, or a true one, is there."""
LIES = tuple(fault for fault in Fault if fault not in OUTAGES)


class Node:
    """The real one at `url`, as it is and as it is not. `lag` in blocks; `forged` are the tasks that do not exist."""

    def __init__(self, url: str, random: random.Random, lag: int) -> None:
        self.url = url
        self.lag = lag
        self.forged: list[str] = []
        self._random = random
        self.client: ClientSession | None = None

    async def answer(self, asked: Json) -> Json:
        if asked["method"] == "eth_subscribe":
            return answered(asked, f"0x{self._random.getrandbits(64):x}")
        assert self.client
        async with self.client.post(self.url, json=asked) as answer:
            found: Json = await answer.json()
            return found

    async def ask(self, method: str, *params: Any) -> Any:
        return (await self.answer({"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)})).get("result")

    async def lie(self, fault: Fault, asked: Json) -> Json:
        method = asked["method"]
        answer = await self.answer(asked)
        result = copy.deepcopy(answer.get("result"))
        if fault is Fault.WRONG_CHAIN and method == "eth_chainId":
            return answered(asked, "0x1")
        if fault is Fault.EMPTY_LOGS and method == "eth_getLogs" and isinstance(result, list):
            return answered(asked, [])
        if fault is Fault.FORGED_LOG and method == "eth_getLogs" and isinstance(result, list) and result:
            return answered(asked, [*result, self._forge(result[0])])
        if fault is Fault.WRONG_RECEIPT and method in ("eth_getTransactionReceipt", "eth_getBlockReceipts"):
            for receipt in result if isinstance(result, list) else [result]:
                if isinstance(receipt, dict):
                    receipt["status"] = "0x0" if receipt.get("status") == "0x1" else "0x1"
            return answered(asked, result)
        if fault is Fault.WRONG_NONCE and method == "eth_getTransactionCount":
            return answered(asked, hex(self._random.choice([0, int(str(result), 16) + 1000])))
        if fault is Fault.ABSURD_FEE and method in ("eth_gasPrice", "eth_maxPriorityFeePerGas"):
            return answered(asked, hex(10**30))
        if fault is Fault.ABSURD_FEE and method == "eth_getBlockByNumber" and isinstance(result, dict):
            return answered(asked, absurd(result))
        return answer

    def _forge(self, real: Json) -> Json:
        """A log like a real one of the block, about what does not exist."""
        task = f"{self._random.getrandbits(160):040x}"
        self.forged.append(task)
        data = "0x" + "0" * 24 + task + real["data"][66:]
        return {**real, "data": data, "logIndex": "0xff", "transactionHash": f"0x{self._random.getrandbits(256):064x}"}

    async def lagging(self, asked: Json) -> Json:
        """The node as it was `lag` blocks ago: what is newer is not there, and a range ends early without a word."""
        method, params = asked["method"], list(asked.get("params", []))
        head = max(0, int(await self.ask("eth_blockNumber"), 16) - self.lag)
        if method == "eth_blockNumber":
            return answered(asked, hex(head))
        if method == "eth_getBlockByNumber":
            wanted = head if params[0] == "latest" else int(params[0], 16)
            return answered(asked, await self.ask(method, hex(wanted), *params[1:]) if wanted <= head else None)
        if method == "eth_getLogs":
            return await self._lagging_logs(asked, params[0], head)
        if (
            method in ("eth_call", "eth_getTransactionCount", "eth_getBalance", "eth_getCode")
            and params[-1] == "latest"
        ):
            return await self.answer({**asked, "params": [*params[:-1], hex(head)]})
        answer = await self.answer(asked)
        found = answer.get("result")
        number = found.get("blockNumber") or found.get("number") if isinstance(found, dict) else None
        return answered(asked, None) if isinstance(number, str) and int(number, 16) > head else answer

    async def _lagging_logs(self, asked: Json, wanted: Json, head: int) -> Json:
        if "blockHash" in wanted:
            block = await self.ask("eth_getBlockByHash", wanted["blockHash"], False)
            if block is None or int(block["number"], 16) > head:
                error = {"code": -32000, "message": "unknown block"}
                return {"jsonrpc": "2.0", "id": asked["id"], "error": error}
            return await self.answer(asked)
        first, end = int(wanted["fromBlock"], 16), min(int(wanted["toBlock"], 16), head)
        if first > end:
            return answered(asked, [])
        return answered(asked, await self.ask("eth_getLogs", {**wanted, "toBlock": hex(end)}))

    async def announced_logs(self, header: Json, wanted: Json, fault: Fault | None) -> list[Json]:
        """What the node would announce of a block."""
        logs: list[Json] = await self.ask("eth_getLogs", {"blockHash": header["hash"], **wanted})
        if fault is Fault.EMPTY_LOGS:
            return []
        if fault is Fault.FORGED_LOG and logs:
            return [*logs, self._forge(logs[0])]
        return logs

    async def late(self, header: Json) -> Json:
        """The header that a lagging node would announce by now."""
        found: Json = await self.ask("eth_getBlockByNumber", hex(max(0, int(header["number"], 16) - self.lag)), False)
        return found


def absurd(header: Json) -> Json:
    return {**header, "baseFeePerGas": hex(10**30)}


def answered(asked: Json, result: Any) -> Json:
    return {"jsonrpc": "2.0", "id": asked["id"], "result": result}
