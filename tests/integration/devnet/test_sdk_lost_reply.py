"""One lost reply to a send, on the official SDK's sender: two effects. Ours has one (docs/reliability.md)."""

import asyncio
import time
from pathlib import Path

import pytest

from ogpu_provider.devnet import accounts
from ogpu_provider.devnet.deployment import pair_and_fund
from ogpu_provider.devnet.jsonrpc import JsonRpc
from ogpu_provider.devnet.network import LocalNetwork
from ogpu_provider.devnet.sdk import SdkClient
from ogpu_provider.domain.errors import DevnetError
from tests.faults.lies import Fault
from tests.faults.proxy import Proxy

pytestmark = pytest.mark.devnet
SEND = "eth_sendRawTransaction"


async def test_the_official_sdk_sends_twice_when_one_reply_is_lost(tmp_path: Path) -> None:
    client = accounts.role("client")
    async with LocalNetwork(tmp_path, block_time=0.25, registry=False) as network:
        await pair_and_fund(network.node.rpc_url, network.deployment)
        made = network.describe()
        async with (
            Proxy(network.node.rpc_url) as proxy,
            JsonRpc(network.node.rpc_url) as rpc,
            SdkClient(proxy.url, made["pin_url"] + "/file/create", client.private_key) as sdk,
        ):
            source = await sdk.call(
                "publish_source",
                name="s",
                description="",
                compose={"cpu": "https://example.org/compose.yml"},
                min_payment=10**16,
                min_lockup=0,
                max_expiry=3600,
                delivery=1,
            )
            before = int(await rpc.call("eth_getTransactionCount", client.address, "latest"), 16)
            await proxy.arm(Fault.ANSWER_LOST, SEND)

            async def once() -> None:
                while not proxy.struck:
                    await asyncio.sleep(0.001)
                await proxy.disarm()

            healing = asyncio.create_task(once())
            said = "success"
            try:
                await sdk.call(
                    "publish_task",
                    source=source,
                    function="f",
                    data={},
                    expiry=int(time.time()) + 600,
                    payment=10**16,
                )
            except DevnetError as error:
                said = str(error)
            await healing
            await asyncio.sleep(1.5)
            sent = int(await rpc.call("eth_getTransactionCount", client.address, "latest"), 16) - before
    assert sum(proxy.struck.values()) == 1
    assert (sent, said) == (2, "success")
