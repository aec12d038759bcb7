"""Every RPC method that the provider calls, with a call of each."""

import ast
import re
from pathlib import Path
from typing import Any

import ogpu_provider
from ogpu_provider.chain.networks import devnet
from ogpu_provider.chain.pool import RpcPool
from ogpu_provider.chain.wire import JsonRpcError
from ogpu_provider.domain.errors import RpcUnavailable
from tests.faults.host import ME
from tests.integration.devnet.conftest import Network

SUBSCRIBE = "eth_subscribe"
METHODS = (
    "eth_chainId",
    "eth_getCode",
    "eth_blockNumber",
    "eth_getBlockByNumber",
    "eth_getBlockByHash",
    "eth_getLogs",
    "eth_call",
    "eth_estimateGas",
    "eth_getTransactionReceipt",
    "eth_getBlockReceipts",
    "eth_getTransactionByHash",
    "eth_getTransactionCount",
    "eth_getBalance",
    "eth_maxPriorityFeePerGas",
    "eth_gasPrice",
    "eth_sendRawTransaction",
    SUBSCRIBE,
)
BESIDE = {"eth_send", "net_wei"}
"""Words in the code that look like methods: a prefix, and a column of `earnings`."""
_METHOD = re.compile(r"(eth|net|web3|txpool|debug|trace)_[a-z]\w*")
NOT_THE_PROVIDER = "devnet"
"""The local network is no part of a provider; it talks to its own node."""


def used() -> set[str]:
    """Every text in the code that has the form of a method's name."""
    root = Path(ogpu_provider.__file__).parent
    files = [path for path in root.rglob("*.py") if path.relative_to(root).parts[0] != NOT_THE_PROVIDER]
    nodes = (node for path in files for node in ast.walk(ast.parse(path.read_text())))
    texts = (node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))
    return {text for text in texts if _METHOD.fullmatch(text)}


async def samples(network: Network) -> dict[str, tuple[Any, ...]]:
    """Parameters for each method, about a block with a task in it."""
    await network.task(await network.source())
    there = devnet(network.url)
    wanted = {"fromBlock": "0x0", "toBlock": "latest", "address": [there.nexus]}
    newest = (await network.rpc.call("eth_getLogs", wanted))[-1]
    block = await network.rpc.call("eth_getBlockByHash", newest["blockHash"], False)
    await network.rpc.call("anvil_mine", "0x6")
    tx = newest["transactionHash"]
    raw = await network.rpc.call("eth_getRawTransactionByHash", tx)
    return {
        "eth_chainId": (),
        "eth_getCode": (there.nexus, "latest"),
        "eth_blockNumber": (),
        "eth_getBlockByNumber": (block["number"], False),
        "eth_getBlockByHash": (block["hash"], False),
        "eth_getLogs": ({"blockHash": block["hash"], "address": [there.nexus]},),
        "eth_call": ({"to": there.vault, "data": "0x"}, "latest"),
        "eth_estimateGas": ({"from": ME, "to": ME, "value": "0x1"},),
        "eth_getTransactionReceipt": (tx,),
        "eth_getBlockReceipts": (block["number"],),
        "eth_getTransactionByHash": (tx,),
        "eth_getTransactionCount": (ME, "latest"),
        "eth_getBalance": (ME, "latest"),
        "eth_maxPriorityFeePerGas": (),
        "eth_gasPrice": (),
        "eth_sendRawTransaction": (raw,),  # known already: refused, and that is its honest answer
        SUBSCRIBE: ({"address": [there.nexus]},),
    }


async def said(pool: RpcPool, method: str, params: tuple[Any, ...]) -> Any:
    """What a node answers, refusals included. Raises ChainError where there is no answer."""
    try:
        if method == SUBSCRIBE:
            stream = await pool.subscribe(*params)
            if stream.tells_logs:
                return "announces"
            raise RpcUnavailable("no logs are announced")
        return await pool.call(method, *params)
    except JsonRpcError as error:
        return f"refused: {error.rpc_code}"
