"""Whom the auditor asks: the node, its transaction pool, the container engine, the pinning service."""

import asyncio
import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aleph_cid
import docker
import httpx
from websockets.asyncio.client import connect

from tests.auditor.evidence import EVENTS, Container, Log, Pinned, Task, Transaction, link_of, selector

Json = dict[str, Any]
_BATCH = 100
_VIEWS = (selector("taskParams()"), selector("getStatus()"))


class Chain:
    """The node's own answers, never through a proxy."""

    def __init__(self, url: str, nexus: str, provider: str) -> None:
        self._http = httpx.AsyncClient(base_url=url, timeout=60, trust_env=False)
        self._nexus = nexus
        self._provider = provider
        self._blocks: dict[int, Json] = {}

    async def ask(self, calls: Sequence[tuple[str, list[Any]]]) -> list[Any]:
        results: list[Any] = []
        for start in range(0, len(calls), _BATCH):
            part = calls[start : start + _BATCH]
            asked = [
                {"jsonrpc": "2.0", "id": n, "method": method, "params": params}
                for n, (method, params) in enumerate(part)
            ]
            answers = (await self._http.post("", json=asked)).raise_for_status().json()
            results += [one["result"] for one in sorted(answers, key=lambda one: one["id"])]
        return results

    async def mined(self) -> list[Transaction]:
        """The provider's transactions in canonical blocks."""
        [head] = await self.ask([("eth_blockNumber", [])])
        top = int(head, 16)
        for number in [*range(max(0, top - 64), top + 1), *(n for n in self._blocks if n > top)]:
            self._blocks.pop(number, None)  # these may be others by now
        wanted = [n for n in range(top + 1) if n not in self._blocks]
        for block in await self.ask([("eth_getBlockByNumber", [hex(n), True]) for n in wanted]):
            self._blocks[int(block["number"], 16)] = block
        ours = [tx for n in sorted(self._blocks) for tx in self._blocks[n]["transactions"] if self._is_ours(tx)]
        receipts = await self.ask([("eth_getTransactionReceipt", [tx["hash"]]) for tx in ours])
        return [transaction(tx, receipt) for tx, receipt in zip(ours, receipts, strict=True)]

    def _is_ours(self, tx: Json) -> bool:
        return str(tx["from"]).lower() == self._provider

    async def logs(self) -> list[Log]:
        """Those that the auditor understands, in order. Call `mined` before: it knows the blocks' times."""
        wanted = {"address": self._nexus, "fromBlock": "0x0", "toBlock": "latest", "topics": [list(EVENTS)]}
        [found] = await self.ask([("eth_getLogs", [wanted])])
        return [self._log(one) for one in found if int(one["blockNumber"], 16) in self._blocks]

    def _log(self, raw: Json) -> Log:
        words = raw["data"][2:]
        number = int(raw["blockNumber"], 16)
        return Log(
            event=EVENTS[raw["topics"][0]],
            values=tuple(words[n : n + 64] for n in range(0, len(words), 64)),
            place=(number, int(raw["logIndex"], 16)),
            tx=raw["transactionHash"],
            at=int(self._blocks[number]["timestamp"], 16),
        )

    async def tasks(self, addresses: Sequence[str]) -> dict[str, Task]:
        calls = [("eth_call", [{"to": one, "data": data}, "latest"]) for one in addresses for data in _VIEWS]
        answers = await self.ask(calls)
        found = {}
        for one, params, status in zip(addresses, answers[::2], answers[1::2], strict=True):
            words = params[2:]
            source, expiry, payment = words[24:64], words[128:192], words[192:256]
            found[one] = Task("0x" + source, int(expiry, 16), int(payment, 16), int(status, 16))
        return found

    async def aclose(self) -> None:
        await self._http.aclose()


class Pool:
    """Sees every transaction that the node takes in, whether or not it is ever in a block."""

    def __init__(self, ws_url: str, provider: str) -> None:
        self._url = ws_url
        self._provider = provider
        self.seen: dict[str, Transaction] = {}
        self.watching = asyncio.Event()

    async def watch(self) -> None:
        async with connect(self._url, proxy=None, max_size=None) as ws:
            await ws.send(_request(0, "eth_subscribe", ["newPendingTransactions"]))
            asked = 0
            async for text in ws:
                message = json.loads(text)
                if message.get("id") == 0:
                    self.watching.set()
                elif "params" in message:
                    asked += 1
                    await ws.send(_request(asked, "eth_getTransactionByHash", [message["params"]["result"]]))
                elif isinstance(tx := message.get("result"), dict) and tx["from"].lower() == self._provider:
                    self.seen[tx["hash"]] = transaction(tx, None)


def _request(number: int, method: str, params: list[Any]) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params})


def transaction(tx: Json, receipt: Json | None) -> Transaction:
    return Transaction(
        hash=tx["hash"],
        nonce=int(tx["nonce"], 16),
        to=str(tx["to"]).lower(),
        data=tx["input"],
        value=int(tx["value"], 16),
        max_fee=int(tx.get("maxFeePerGas") or tx["gasPrice"], 16),
        block=int(receipt["blockNumber"], 16) if receipt else None,
        worked=receipt["status"] == "0x1" if receipt else None,
        fee=int(receipt["gasUsed"], 16) * int(receipt["effectiveGasPrice"], 16) if receipt else 0,
    )


async def pinned(gateway: str, responses: Sequence[tuple[str, Transaction]]) -> dict[str, Pinned]:
    """What the pinning service has for the link of each task's response."""
    found: dict[str, Pinned] = {}
    async with httpx.AsyncClient(timeout=30, trust_env=False) as http:
        for task, tx in responses:
            link = link_of(tx)
            answer = await http.get(f"{gateway}/ipfs/{link.rpartition('/')[2]}")
            body = answer.content if answer.status_code == 200 else None
            found[task] = Pinned(link, body, str(aleph_cid.compute_cid(body)) if body is not None else "")
    return found


class Engine:
    """Containers by their labels. Only looks."""

    def __init__(self, instance: str, decoys: Sequence[str]) -> None:
        self._client = docker.from_env(timeout=60)
        self._instance = instance
        self._decoys = {name: self._picture(name) for name in decoys}

    def containers(self) -> list[Container]:
        found = self._client.containers.list(all=True, filters={"label": f"ogpu.instance={self._instance}"})
        return [_container(one.attrs) for one in found]

    def changed(self) -> list[str]:
        """Other people's containers that are not as they were."""
        return [f"{name} was touched" for name, was in self._decoys.items() if self._picture(name) != was]

    def spoken(self) -> dict[str, str]:
        """Everything that the engine says about the instance's containers, and what they logged."""
        found = self._client.containers.list(all=True, filters={"label": f"ogpu.instance={self._instance}"})
        return {str(one.name): json.dumps(one.attrs) + one.logs(tail=2000).decode(errors="replace") for one in found}

    def _picture(self, name: str) -> Any:
        with contextlib.suppress(docker.errors.NotFound):
            found = self._client.containers.get(name)
            return found.id, found.attrs["State"]["Status"], found.attrs["State"]["StartedAt"]
        return None


def _container(raw: Json) -> Container:
    labels = raw["Config"]["Labels"]
    requests = raw["HostConfig"].get("DeviceRequests") or []
    devices = [one for request in requests for one in request.get("DeviceIDs") or []]
    devices += [one["PathOnHost"] for one in raw["HostConfig"].get("Devices") or []]
    return Container(
        id=raw["Id"],
        name=raw["Name"],
        source=labels.get("ogpu.source", "").lower(),
        service=labels.get("com.docker.compose.service", ""),
        running=bool(raw["State"]["Running"]),
        devices=tuple(devices),
    )


def leaks(secrets: Sequence[str], outputs: dict[str, str]) -> list[str]:
    return [f"a secret stands in {where}" for where, text in outputs.items() for one in secrets if one in text]


def text_of(files: Sequence[str]) -> dict[str, str]:
    return {file: Path(file).read_text(errors="replace") for file in files if Path(file).is_file()}
