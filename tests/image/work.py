"""Tasks of the local network's client, and what came of them on chain."""

import time
from dataclasses import dataclass
from typing import Any

from eth_utils.crypto import keccak

from ogpu_provider.devnet.jsonrpc import JsonRpc
from ogpu_provider.devnet.network import LocalNetwork
from ogpu_provider.devnet.sdk import SdkClient
from ogpu_provider.domain.units import COIN, Address
from tests.waiting import until

ATTEMPTED, RESPONDED = (
    "0x" + keccak(text=text).hex()
    for text in ("Attempted(address,address,uint256)", "ResponseSubmitted(address,address)")
)


@dataclass(frozen=True)
class Local:
    """A local network, its client, and a source on it."""

    network: LocalNetwork
    client: SdkClient
    source: str

    async def publish(self, function: str, data: object, life: float = 180.0) -> Address:
        expiry = int(time.time() + life)
        task = await self.client.call(
            "publish_task", source=self.source, function=function, data=data, expiry=expiry, payment=COIN // 100
        )
        return Address(task)

    async def finalised(self, task: Address, timeout: float = 120.0) -> dict[str, Any]:
        async def look() -> dict[str, Any] | None:
            view: dict[str, Any] = await self.client.call("task", address=task)
            return view if view["status"] == "FINALIZED" else None

        return await until(look, timeout, "the task to be finalised", pause=0.5)

    async def sent(self, task: Address) -> tuple[int, int]:
        """How often the task was attempted and answered, by the chain's own logs."""
        async with JsonRpc(self.network.node.rpc_url) as rpc:
            where = {"address": self.network.deployment.nexus, "fromBlock": "0x0", "toBlock": "latest"}
            logs = await rpc.call("eth_getLogs", {**where, "topics": [[ATTEMPTED, RESPONDED]]})
        word = task[2:].lower().rjust(64, "0")
        topics = [log["topics"][0] for log in logs if word in log["data"]]
        return topics.count(ATTEMPTED), topics.count(RESPONDED)
