"""The half of the gateway that publishes: the key, the sender, the chain and what it says of orders, webhooks."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Never

import httpx
import structlog

from ogpu_provider.assembly import open_pool
from ogpu_provider.chain.fees import DAY, DayBudget, FeeCaps
from ogpu_provider.chain.networks import Network
from ogpu_provider.chain.pool import RpcPool
from ogpu_provider.chain.reader import ChainReader
from ogpu_provider.chain.sender import Sender
from ogpu_provider.chain.watcher import Watcher
from ogpu_provider.domain.clock import SystemClock
from ogpu_provider.domain.errors import ChainError
from ogpu_provider.domain.facts import Block, Fact
from ogpu_provider.domain.order import Order
from ogpu_provider.domain.units import Wei
from ogpu_provider.gateway import wallets
from ogpu_provider.gateway.asks import Asks
from ogpu_provider.gateway.bell import Bell
from ogpu_provider.gateway.endings import Endings
from ogpu_provider.gateway.follower import Follower
from ogpu_provider.gateway.line import Line
from ogpu_provider.gateway.local import LocalProvider
from ogpu_provider.gateway.publisher import Publisher
from ogpu_provider.gateway.webhooks import Courier
from ogpu_provider.ipfs.fetch import Fetcher
from ogpu_provider.ipfs.pinners import OgpuPinner
from ogpu_provider.ipfs.webhook import Poster
from ogpu_provider.keys.signer import Signer
from ogpu_provider.settings import Settings
from ogpu_provider.store.orders import GatewayStore

log = structlog.get_logger(__name__)
LOOK_S = 5.0
"""Seconds between two looks at orders; while blocks are being undone, at every block."""
RESTLESS = 8
"""Blocks on top of what was undone in which every block is such a one."""
LOOK_AT = 50
FORGET_S = 3600.0
FORGET_AT = 100
"""Orders that are forgotten in one commit, and the seconds until the next: others write, too."""
BETWEEN_S = 0.5


class Head:
    block: Block | None = None


@dataclass(frozen=True, slots=True)
class Outside:
    """Whom it speaks with: nodes, the pinning service, whoever keeps results, users' endpoints, the provider here."""

    rpc: RpcPool
    pinning: httpx.AsyncClient
    fetcher: Fetcher
    poster: Poster
    local: LocalProvider


class Publishing:
    def __init__(
        self, settings: Settings, network: Network, signer: Signer, store: GatewayStore, outside: Outside, line: Line
    ) -> None:
        self._network = network
        self._keep_s = settings.gateway.keep_days * DAY
        self._client = signer.address
        self._store = store
        self._line = line
        self._rpc = outside.rpc
        self._clock = SystemClock()
        self._head = Head()
        self._bell = Bell()
        store.heard = self._written
        self._reader = ChainReader(self._rpc, network, signer.address)
        self._balance: Wei | None = None
        self._ordered = True
        asks = Asks(store, network, self._clock, lambda: self._sender.wake())
        self._follower = Follower(
            store, self._rpc, outside.fetcher, self._clock, self._settled, asks.confirm, outside.local
        )
        self._endings = Endings(store, self._follower.look, max(1, settings.network.confirmations))
        self._unrest = Bell()
        self._restless_until = 0
        self._courier = Courier(store, self._clock, outside.poster.post, self._bell)
        self._sender = self._a_sender(settings, signer)
        pinner = OgpuPinner(network.pin_url, outside.pinning)
        self._publisher = Publisher(
            store, pinner, self._clock, self._bell, self._sender.wake, self._follower.not_pinned
        )

    def _a_sender(self, settings: Settings, signer: Signer) -> Sender:
        return Sender(
            self._rpc,
            self._store,
            signer,
            self._clock,
            self._head,
            self._follower.on_outcome,
            confirmations=settings.network.confirmations,
            caps=FeeCaps(settings.fees.max_fee),
            budget=DayBudget(settings.fees.day_budget),
        )

    async def run(self) -> Never:
        """Until canceled, or until something happens that cannot pass."""
        cursor = await self._store.cursor()
        watcher = Watcher(self._rpc, self._network, self._deliver, self._clock, cursor, undo=self._undo)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sender.run(), name="sender")
            group.create_task(watcher.run(), name="watcher")
            group.create_task(self._publisher.run(), name="pinning")
            group.create_task(self._courier.run(), name="webhooks")
            group.create_task(self._look_again(), name="sweep")
            group.create_task(self._forget(), name="forgetting")
        raise AssertionError("the services run for ever")

    async def take(self, told: dict[str, Any]) -> None:
        """What the other half tells."""
        match told["what"]:
            case "rung":
                self._ordered = True
                self._bell.ring()
            case "planned":
                self._sender.wake()
            case "asked":
                holds = await wallets.vouches(
                    self._rpc, told["wallet"], bytes.fromhex(told["digest"]), bytes.fromhex(told["signature"])
                )
                self._line.tell("answered", number=told["number"], holds=holds)

    async def _deliver(self, block: Block, facts: Sequence[Fact]) -> None:
        """The balance first: what it does not show yet is held back until the other half hears that it is settled."""
        self._head.block = block
        if block.number <= self._restless_until:
            self._unrest.ring()
        if self._ordered or facts:
            self._ordered = False
            await self._ask_balance()
        self._tell_chain()
        await self._sender.observe(block, facts)
        await self._follower.deliver(block, facts)

    async def _undo(self, block: Block) -> None:
        """Everything above this block is undone. What that means for an order shows in the blocks that come."""
        await self._endings.undo(block)
        self._restless_until = max(block.number, (self._head.block or block).number) + RESTLESS

    def _settled(self, order: Order) -> None:
        self._line.tell("settled", order=order.id)

    def _written(self) -> None:
        self._bell.ring()
        self._line.ring()

    async def _ask_balance(self) -> None:
        try:
            self._balance = await self._reader.read(self._network.vault, "Vault.balanceOf", self._client)
        except ChainError as error:
            log.warning("gateway_balance_unknown", code=error.code, error=str(error))
            self._balance = None

    def _tell_chain(self) -> None:
        block, balance = self._head.block, self._balance
        self._line.tell(
            "chain", time=block.timestamp if block else 0, balance=None if balance is None else str(balance)
        )

    async def _forget(self) -> None:
        while True:
            before = self._clock.now() - self._keep_s
            gone = await self._store.forget(before, limit=FORGET_AT)
            if gone:
                log.info("orders_forgotten", orders=gone)
            await self._clock.sleep(BETWEEN_S if gone == FORGET_AT else FORGET_S)

    async def _look_again(self) -> None:
        """Hold orders against the chain in turn, and tell the operator how things stand."""
        position = 0
        while True:
            heard = self._unrest.heard
            await self._ask_balance()  # a deposit is no fact of ours
            self._tell_chain()
            found = await self._store.unsettled(position, limit=LOOK_AT)
            for _, order in found:
                await self._follower.look(order)
            position = found[-1][0] if len(found) == LOOK_AT else 0
            if (head := self._head.block) is not None:
                await self._endings.check(head, restless=head.number <= self._restless_until)
            self._line.tell(
                "measured",
                orders=await self._store.counts(),
                webhooks=dict(self._courier.told),
                head=self._head.block.number if self._head.block else 0,
                balance=str(self._balance or 0),
            )
            await self._unrest.wait(heard, LOOK_S)


@asynccontextmanager
async def publishing(
    settings: Settings, network: Network, signer: Signer, store: GatewayStore, line: Line
) -> AsyncIterator[Publishing]:
    """With connections of its own to nodes and to strangers."""
    private = settings.network.allow_private_urls
    async with (
        open_pool(settings, network) as rpc,
        httpx.AsyncClient(trust_env=False) as pinning,
        Fetcher(allow_private=private) as fetcher,
        Poster(allow_private=private) as poster,
        LocalProvider(settings.gateway.provider_data_dir) as local,
    ):
        yield Publishing(settings, network, signer, store, Outside(rpc, pinning, fetcher, poster, local), line)
