"""The whole path of a provider on a real node: in memory are only the containers and the documents."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from ogpu_provider.chain.sender import Sender
from ogpu_provider.chain.watcher import Watcher
from ogpu_provider.domain.facts import Block, Fact
from ogpu_provider.domain.source import SourceState
from ogpu_provider.domain.task import Task
from ogpu_provider.domain.units import Address, Hash
from ogpu_provider.pipeline.concerns import Concerns
from ogpu_provider.pipeline.ports import Policy
from ogpu_provider.pipeline.presence import present
from ogpu_provider.pipeline.resumption import resume
from ogpu_provider.pipeline.wishes import SourcePolicy
from tests.fakes.clock import BriskClock
from tests.fakes.runtime import Script
from tests.integration.chain.host import ME, Host
from tests.unit.pipeline.stage import COMPOSE, METADATA, Daemon, Outside, WokenSender, running

TASK_URL = "http://config.example/task.json"
SOURCE_URL = "http://metadata.example/source.json"
OTHER_URL = "http://metadata.example/other.json"
LONG = 3000
"""Seconds that a task lasts."""


@dataclass
class Path:
    host: Host
    outside: Outside
    daemon: Daemon

    async def mine(self, blocks: int = 1) -> None:
        if blocks:
            await self.host.rpc.call("anvil_mine", hex(blocks))

    async def source(self, **terms: Any) -> Address:
        """Published, and its containers would answer."""
        source = Address(await self.host.network.source(**terms))
        self.answers(source)
        return source

    async def registered(self, source: Address) -> None:
        """By the agent: the provider's key is our sender's alone."""
        network = self.host.network
        await network.act(network.agent, "Nexus", "register", source, network.provider.address, 1)

    def answers(self, source: Address, answers: bool = True) -> None:
        script = self.outside.runtime.scripts.setdefault(source, Script({"double": (_double, ("n",))}))
        script.answers = answers

    async def until(
        self, what: Callable[[], Awaitable[object]], sentence: str, *, blocks: int = 0, looks: int = 3_000
    ) -> None:
        """`blocks` are mined at each look."""
        for _ in range(looks):
            if await what():
                return
            await self.mine(blocks)
            await asyncio.sleep(0.02)
        raise AssertionError(f"waited in vain until {sentence}")

    async def ready(self, source: Address) -> None:
        async def look() -> bool:
            row = self.daemon.ports.book.get(source)
            return row is not None and row.state is SourceState.READY

        await self.until(look, f"{source} is ready", blocks=1)

    async def row(self, task: Address) -> Task | None:
        return await self.host.store.task(task)

    async def heard(self) -> None:
        """Everything up to the node's head was delivered."""

        async def look() -> bool:
            head = await self.host.rpc.call("eth_getBlockByNumber", "latest", False)
            block = self.daemon.ports.head.block
            return block is not None and block.hash == head["hash"]

        await self.until(look, "the head was heard of")


@asynccontextmanager
async def a_path(
    host: Host,
    *,
    slots: int = 1,
    confirmations: int = 1,
    serve_all: bool = False,
    outside: Outside | None = None,
) -> AsyncIterator[Path]:
    """As the daemon joins it, from where its journal ends, or some blocks ago; at the head when it is yielded.

    `outside`: of an earlier one, that was killed.
    """
    outside = outside or _outside(host)
    clock = outside.clock
    policy = SourcePolicy(serve_all=serve_all)
    async with running(outside, slots=slots, policy=Policy(confirmations=confirmations), sources=policy) as daemon:
        path = Path(host, outside, daemon)
        sender = Sender(
            host,
            host.store,
            host.signer,
            clock,
            daemon.ports.head,
            daemon.reckoning.on_intent,
            confirmations=confirmations,
            present=lambda intent: present(host.chain, intent),
        )
        assert isinstance(daemon.ports.sender, WokenSender)
        daemon.ports.sender.true = sender

        async def deliver(block: Block, facts: Sequence[Fact]) -> None:
            daemon.ports.head.block = host.head.block = block
            await daemon.intake.deliver(block, facts)

        concerns = Concerns(ME, daemon.ports.book, daemon.conductor.follows, sender.carries)
        start = await host.store.cursor() or await _some_blocks_ago(host)
        watcher = Watcher(
            host.rpc,
            host.rpc.network,
            deliver,
            clock,
            start,
            undo=daemon.intake.undo,
            concerning=concerns.of,
        )
        recovery = resume(daemon.ports, daemon.reckoning, start[0])
        services = [asyncio.ensure_future(one) for one in (sender.run(), watcher.run(), recovery)]
        try:
            await path.heard()
            yield path
            for service in (*services, *daemon.services):
                if service.done():
                    service.result()
        finally:
            for service in services:
                service.cancel()
            await asyncio.gather(*services, return_exceptions=True)


def _outside(host: Host) -> Outside:
    outside = Outside(clock=BriskClock())  # type: ignore[arg-type]
    outside.chain, outside.journal = host.chain, host.store  # type: ignore[assignment]
    for url in (SOURCE_URL, OTHER_URL):
        outside.content.documents[url] = outside.content.documents[METADATA]
    outside.content.documents[TASK_URL] = b'{"function_name": "double", "data": {"n": 21}}'
    assert COMPOSE in outside.content.documents
    return outside


async def _some_blocks_ago(host: Host) -> tuple[int, Hash]:
    number = max(0, int(await host.rpc.call("eth_blockNumber"), 16) - 13)
    block = await host.rpc.call("eth_getBlockByNumber", hex(number), False)
    return number, Hash(block["hash"])


def _double(data: object) -> object:
    assert isinstance(data, dict)
    return {"result": 2 * data["n"]}
