"""A chain of blocks behind the methods of `Rpc`: it grows, forks, lags, forgets and refuses as a test tells it to."""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

from eth_utils.crypto import keccak

from ogpu_provider.chain.contracts import checksummed, topic
from ogpu_provider.chain.networks import Network, devnet
from ogpu_provider.chain.news import Json, LogId, NewsStream
from ogpu_provider.chain.rpc import Rpc
from ogpu_provider.chain.wire import Call, JsonRpcError
from ogpu_provider.domain.errors import RpcUnavailable
from ogpu_provider.domain.units import Address

NETWORK = devnet("http://127.0.0.1:9")


class Ledger(Rpc):
    """`blocks` is the canonical chain. `hidden`: how many of its newest blocks this node does not know yet.

    `limit`: the widest range of eth_getLogs that it answers. `outages`: errors for the next round trips.
    `forgetful`: how many times more it answers with no logs although there are.
    """

    def __init__(self, *, pushes: bool = True, network: Network = NETWORK, bloom: bool = True) -> None:
        super().__init__(network)
        self._pushes = pushes
        self._bloom = bloom
        self._salt = itertools.count()
        self.blocks: list[dict[str, Any]] = []
        self.logs: dict[str, list[dict[str, Any]]] = {}
        self._numbers: dict[str, int] = {}
        self.streams: list[NewsStream] = []
        self.hidden = 0
        self.limit = 10**9
        self.outages: list[Exception] = []
        self.forgetful = 0
        self.refuses_subscriptions = False
        self.socket_down = False
        self.tells_logs = False
        self.both_tell = False
        self.round_trips = 0
        self.mine()

    @property
    def pushes(self) -> bool:
        return self._pushes

    # the chain

    @property
    def head(self) -> dict[str, Any]:
        return self.blocks[-1]

    def mine(self, tasks: int = 0) -> dict[str, Any]:
        """A block with `tasks` TaskPublished logs; not announced."""
        number = len(self.blocks)
        parent = self.blocks[-1]["hash"] if self.blocks else "0x" + "00" * 32
        name = "0x" + keccak(text=f"{parent}:{number}:{next(self._salt)}").hex()
        self.logs[name] = [self._log(number, name, index) for index in range(tasks)]
        header = {
            "number": hex(number),
            "hash": name,
            "parentHash": parent,
            "timestamp": hex(1_800_000_000 + number),
            "baseFeePerGas": "0x1",
            "logsBloom": self._bloom_of(tasks),
        }
        self.blocks.append(header)
        self._numbers[name] = number
        return header

    def grow(self, blocks: Iterable[int]) -> None:
        for tasks in blocks:
            self.mine(tasks)

    def fork(self, depth: int, blocks: Iterable[int]) -> None:
        """Take the newest `depth` blocks back and mine others; the first block stays."""
        del self.blocks[max(1, len(self.blocks) - depth) :]
        self.grow(blocks)

    def announce(self, header: dict[str, Any] | None = None) -> None:
        for stream in self.streams:
            stream.put_head(header or self.head)

    def announce_logs(self, most: int = 10**6, *, first: int = 0) -> None:
        """Those of the newest block, from the `first` to before the `most`th."""
        for stream in self.streams:
            for log in self.logs[self.head["hash"]][first:most]:
                stream.put_log(log, self.name)

    def hang_up(self) -> None:
        for stream in self.streams:
            stream.lose(RpcUnavailable("lost"))
        self.streams.clear()

    def tasks(self) -> list[Address]:
        """Those published on the canonical chain, in order."""
        return [checksummed("0x" + log["data"][26:66]) for header in self.blocks for log in self.logs[header["hash"]]]

    # the methods of Rpc

    def seconded(self, log: LogId) -> bool:
        return self.both_tell

    async def batch(self, calls: Sequence[Call]) -> list[Any | JsonRpcError]:
        self.round_trips += 1
        self.counts.update(method for method, _ in calls)
        if self.outages:
            raise self.outages.pop(0)
        return [self._answer(method, params) for method, params in calls]

    async def subscribe(self, wanted: Json | None = None) -> NewsStream:
        self.counts["eth_subscribe"] += 1
        if self.refuses_subscriptions:
            raise JsonRpcError("eth_subscribe", -32601, "not supported")
        if self.socket_down:
            raise RpcUnavailable("there is no connection to the node")
        self.streams.append(NewsStream(tells_logs=self.tells_logs))
        return self.streams[-1]

    def _answer(self, method: str, params: tuple[Any, ...]) -> Any | JsonRpcError:
        height = len(self.blocks) - self.hidden
        if method == "eth_getBlockByNumber":
            if params[0] == "latest":
                return self.blocks[height - 1]
            number = int(params[0], 16)
            return self.blocks[number] if number < height else None
        assert method == "eth_getLogs"
        [wanted] = params
        assert set(wanted["topics"][0]) >= {topic("Nexus.TaskPublished")}
        if "blockHash" in wanted:
            number = self._numbers.get(wanted["blockHash"], height)
            found = [one for one in self.blocks[number : min(number + 1, height)] if one["hash"] == wanted["blockHash"]]
            if not found:
                return JsonRpcError(method, -32000, "unknown block")
        else:
            first, end = int(wanted["fromBlock"], 16), int(wanted["toBlock"], 16)
            if end - first + 1 > self.limit:
                return JsonRpcError(method, -32005, "query returned more than 10000 results")
            found = self.blocks[first : min(end + 1, height)]
        if self.forgetful > 0:
            self.forgetful -= 1
            return []
        return [log for header in found for log in self.logs[header["hash"]]]

    def _log(self, number: int, name: str, index: int) -> dict[str, Any]:
        return {
            "address": self.network.nexus,
            "topics": [topic("Nexus.TaskPublished")],
            "data": "0x" + f"{next(self._salt) + (1 << 100):064x}" + f"{1 << 90:064x}",
            "blockNumber": hex(number),
            "blockHash": name,
            "transactionHash": "0x" + keccak(text=f"{name}:{index}").hex(),
            "logIndex": hex(index),
            "removed": False,
        }

    def _bloom_of(self, tasks: int) -> str:
        if not (tasks and self._bloom):
            return "0x" + "00" * 256
        bits = 0
        for item in (self.network.nexus, topic("Nexus.TaskPublished")):
            digest = keccak(bytes.fromhex(item[2:]))
            for pair in (0, 2, 4):
                bits |= 1 << (int.from_bytes(digest[pair : pair + 2], "big") % 2048)
        return f"0x{bits:0512x}"
