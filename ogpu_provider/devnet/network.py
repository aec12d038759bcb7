"""A whole OGPU network on this machine: chain, contracts, pinning service with gateway, image registry."""

import json
import os
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import platformdirs

from ogpu_provider.devnet import accounts
from ogpu_provider.devnet.deployment import Deployment, deploy
from ogpu_provider.devnet.node import TESTNET_CHAIN_ID, Node
from ogpu_provider.devnet.pinning import PinningService
from ogpu_provider.devnet.registry import ImageRegistry
from ogpu_provider.domain.errors import DevnetError

PUBLIC_ROLES = ("client", "master", "provider", "agent")


def cache_dir() -> Path:
    """Tools, wheels and pushed images, kept between runs."""
    return platformdirs.user_cache_path("ogpu-provider")


class LocalNetwork:
    """Everything runs while the context is open, on 127.0.0.1, on free ports.

    `block_time` in seconds. `directory` takes logs. Without `registry`, sources cannot have images (machines with
    no container engine). Raises DevnetError on entry.
    """

    def __init__(
        self, directory: Path, *, block_time: float = 1.0, registry: bool = True, cache: Path | None = None
    ) -> None:
        self.directory = directory
        self.cache = cache or cache_dir()
        self.node = Node(directory / "node.log", block_time=block_time, cache=self.cache / "tools")
        self.pinning = PinningService()
        self.registry = ImageRegistry(self.cache / "registry") if registry else None
        self._stack = AsyncExitStack()
        self._deployment: Deployment | None = None

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.node)
            await stack.enter_async_context(self.pinning)
            if self.registry is not None:
                await stack.enter_async_context(self.registry)
            self._deployment = await deploy(self.node.rpc_url)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @property
    def deployment(self) -> Deployment:
        if self._deployment is None:
            raise DevnetError("the local network is not up")
        return self._deployment

    def describe(self) -> dict[str, Any]:
        """What a client needs to know; the keys are part of the command's interface."""
        made = self.deployment
        roles = {name: accounts.role(name) for name in PUBLIC_ROLES}
        return {
            "rpc_url": self.node.rpc_url,
            "ws_url": self.node.ws_url,
            "chain_id": TESTNET_CHAIN_ID,
            "contracts": {
                "nexus": made.nexus,
                "controller": made.controller,
                "terminal": made.terminal,
                "vault": made.vault,
            },
            "pin_url": self.pinning.url,
            "gateway_url": self.pinning.url,
            "registry": self.registry.address if self.registry else None,
            "accounts": {name: {"address": who.address, "private_key": who.private_key} for name, who in roles.items()},
        }


async def up(directory: Path, *, block_time: float = 1.0, ready_file: Path | None = None) -> None:
    """Run a local network until canceled. Prints `describe()` as one line when ready, and writes it to `ready_file`.

    The file appears whole or not at all, so that a script may wait for it.
    """
    async with LocalNetwork(directory, block_time=block_time) as network:
        line = json.dumps(network.describe())
        print(line, flush=True)
        if ready_file is not None:
            draft = ready_file.with_name(ready_file.name + ".part")
            draft.write_text(line + "\n")
            os.replace(draft, ready_file)
        status = await network.node.wait()
        raise DevnetError(f"the node ended with {status}", code="devnet.node")
