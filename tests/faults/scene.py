"""A network with one published source, and daemons on it that an auditor watches."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from ogpu_provider.devnet import accounts
from ogpu_provider.devnet.deployment import pair_and_fund
from ogpu_provider.devnet.network import LocalNetwork
from ogpu_provider.devnet.provider_process import ProviderProcess
from ogpu_provider.devnet.publishing import publish_sample
from ogpu_provider.devnet.sdk import SdkClient
from ogpu_provider.domain.units import Address
from ogpu_provider.store.reader import SqliteReader
from tests.auditing import Auditor
from tests.e2e.world import World
from tests.faults.proxy import Proxy
from tests.waiting import open_when_there, sources_ready

PROVIDER = accounts.role("provider")


@dataclass(frozen=True, slots=True)
class Scene:
    """All that is started ends with `stack`. `source` multiplies; the provider is paired and has coin."""

    stack: AsyncExitStack
    network: LocalNetwork
    client: SdkClient
    source: Address

    @classmethod
    async def open(cls, stack: AsyncExitStack, folder: Path, *, block_time: float = 1.0) -> Self:
        """Blocks come every `block_time` seconds."""
        network = await stack.enter_async_context(LocalNetwork(folder, block_time=block_time))
        made = network.describe()
        await pair_and_fund(network.node.rpc_url, network.deployment)
        key = accounts.role("client").private_key
        client = await stack.enter_async_context(SdkClient(made["rpc_url"], made["pin_url"] + "/file/create", key))
        return cls(stack, network, client, Address(await publish_sample(network, client, "multiply")))

    async def proxy(self, seed: int = 0) -> Proxy:
        """One more way to the node."""
        return await self.stack.enter_async_context(Proxy(self.network.node.rpc_url, seed=seed))

    async def daemon(
        self,
        folder: Path,
        instance: str,
        way: Proxy | None = None,
        *,
        slots: int = 4,
        network: Mapping[str, object] | None = None,
        alerts: Mapping[str, object] | None = None,
    ) -> ProviderProcess:
        """Started, by `way` if one is given; `slots` is how many tasks at once, `network` and `alerts` are settings of
        those names.
        """
        folder.mkdir(exist_ok=True)
        through = {"rpc_url": way.url, "ws_url": way.ws_url} if way else {}
        settings: dict[str, Mapping[str, object]] = {
            "network": network or {},
            "alerts": alerts or {},
            "admission": {
                "min_payment": "0.005",
                "min_time_left": 5.0,
                "cpu_slots": slots,
                "slots_per_source": slots,
            },
            "runtime": {"instance": instance},
        }
        made: dict[str, Any] = {**self.network.describe(), **through}
        return await self.stack.enter_async_context(ProviderProcess(folder, made, PROVIDER.private_key, settings))

    async def auditor(self, daemon: ProviderProcess, instance: str) -> Auditor:
        """Reads the node itself, whichever way the daemon takes."""
        network = self.network
        return await self.stack.enter_async_context(
            Auditor(
                network.node.rpc_url,
                network.deployment.nexus,
                PROVIDER,
                instance=instance,
                gateway=network.describe()["gateway_url"],
                outputs=[daemon.log],
            )
        )

    async def journal(self, daemon: ProviderProcess) -> SqliteReader:
        """The daemon's, once it has made it."""
        reader = await open_when_there(daemon)
        self.stack.push_async_callback(reader.close)
        return reader

    async def world(self, daemon: ProviderProcess) -> World:
        """Once the daemon serves the source."""
        reader = await self.journal(daemon)
        await sources_ready(daemon, reader, {self.source})
        return World(self.network, self.client, daemon, {"multiply": self.source}, reader)
