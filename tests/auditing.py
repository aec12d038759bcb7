"""Counts effects on chain from logs alone; knows nothing of the daemon's journal."""

from dataclasses import dataclass

from ogpu_provider.devnet.jsonrpc import JsonRpc

TOPIC_ATTEMPTED = "0x88c89788e8b61b93ed2a66e02b36e04d60275b78893674aa6134fad20874022d"
TOPIC_RESPONSE = "0xf6a0b941311aeaa4102f64c379955a62cca24a7cb0cf54e6203ca75075588554"


@dataclass(frozen=True)
class Effects:
    attempts: int
    responses: int


async def effects(rpc_url: str, nexus: str, task: str) -> Effects:
    """How often a task was attempted and answered, by whomever."""
    async with JsonRpc(rpc_url) as rpc:
        logs = await rpc.call(
            "eth_getLogs",
            {"address": nexus, "fromBlock": "0x0", "toBlock": "latest", "topics": [[TOPIC_ATTEMPTED, TOPIC_RESPONSE]]},
        )
    word = task[2:].lower().rjust(64, "0")
    mine = [log for log in logs if word in log["data"]]
    return Effects(
        attempts=sum(log["topics"][0] == TOPIC_ATTEMPTED for log in mine),
        responses=sum(log["topics"][0] == TOPIC_RESPONSE for log in mine),
    )
