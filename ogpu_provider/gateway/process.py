"""One run of the gateway: key, database, chain and server, joined. It shares no key and no file with the daemon."""

import asyncio
from collections.abc import Sequence

import httpx
import structlog

from ogpu_provider import config
from ogpu_provider.assembly import day_cap, network_of, open_pool
from ogpu_provider.chain.fees import DayBudget, FeeCaps
from ogpu_provider.chain.networks import Network
from ogpu_provider.chain.pool import RpcPool
from ogpu_provider.chain.reader import ChainReader
from ogpu_provider.chain.sender import Sender
from ogpu_provider.chain.watcher import Watcher
from ogpu_provider.domain.clock import SystemClock
from ogpu_provider.domain.errors import ConfigError
from ogpu_provider.domain.facts import Block, Fact
from ogpu_provider.domain.order import Quota
from ogpu_provider.domain.units import COIN, Address, Wei
from ogpu_provider.gateway.access import TIERS
from ogpu_provider.gateway.app import create_app
from ogpu_provider.gateway.bell import Bell
from ogpu_provider.gateway.desk import Desk
from ogpu_provider.gateway.follower import Follower
from ogpu_provider.gateway.local import LocalProvider
from ogpu_provider.gateway.metrics import Metrics
from ogpu_provider.gateway.publisher import Publisher
from ogpu_provider.gateway.rates import Rates
from ogpu_provider.gateway.routes.context import Api
from ogpu_provider.gateway.server import bound, listen
from ogpu_provider.gateway.signin import SignIn, Site
from ogpu_provider.gateway.streams import Streams
from ogpu_provider.gateway.webhooks import Courier
from ogpu_provider.ipfs.fetch import Fetcher
from ogpu_provider.ipfs.pinners import OgpuPinner
from ogpu_provider.ipfs.webhook import Poster
from ogpu_provider.keys import keystore
from ogpu_provider.keys.claim import claimed
from ogpu_provider.keys.client_policy import ClientPolicy
from ogpu_provider.keys.signer import Signer
from ogpu_provider.settings import Settings
from ogpu_provider.store.orders import GatewayStore

log = structlog.get_logger(__name__)
LOOK_S = 5.0
LOOK_AT = 50


class Head:
    block: Block | None = None


async def run(settings: Settings) -> None:
    """Serve until canceled. Raises ProviderError for what keeps the gateway from starting, or makes it end."""
    network = network_of(settings)
    signer = await open_signer(settings, network)
    store = await GatewayStore.open(settings.gateway_database, chain_id=network.chain_id, client=signer.address)
    try:
        with claimed(network.scope, signer.address):
            async with (
                open_pool(settings, network) as rpc,
                httpx.AsyncClient(trust_env=False) as pinning,
                Fetcher(allow_private=settings.network.allow_private_urls) as fetcher,
                Poster(allow_private=settings.network.allow_private_urls) as poster,
                LocalProvider(settings.gateway.provider_data_dir) as local,
            ):
                await Gateway(settings, network, signer, store, rpc, pinning, fetcher, poster, local).serve()
    finally:
        await store.close()


async def open_signer(settings: Settings, network: Network) -> Signer:
    """Unlock the gateway's own key. Raises KeyRefused and ConfigError."""
    if settings.gateway.password_file is None:
        raise ConfigError(
            "the settings do not say where the gateway keystore's password is",
            code="config.password",
            remedy="set gateway.password_file",
        )
    password = config.secret_from_file(settings.gateway.password_file)
    key = await keystore.unlock(settings.gateway_keystore, password.reveal())
    policy = ClientPolicy(
        network.chain_id,
        key.address,
        network.controller,
        fee_cap=settings.fees.max_fee,
        payment_cap=settings.gateway.max_payment,
    )
    return Signer(key, policy, day_cap=day_cap(settings))


class Gateway:
    def __init__(
        self,
        settings: Settings,
        network: Network,
        signer: Signer,
        store: GatewayStore,
        rpc: RpcPool,
        pinning: httpx.AsyncClient,
        fetcher: Fetcher,
        poster: Poster,
        local: LocalProvider,
    ) -> None:
        self._settings = settings
        self._network = network
        self._store = store
        self._client = signer.address
        self._local = local
        self._clock = SystemClock()
        self._head = Head()
        self._rpc = rpc
        self._reader = ChainReader(rpc, network, signer.address)
        self._bell = Bell()
        store.heard = self._bell.ring
        self._metrics = Metrics()
        self._balance = Balance(self._reader, network, signer.address, self._head)
        self._desk = Desk(
            store,
            network,
            self._clock,
            self._balance.read,
            lambda: self._sender.wake(),
            poster.vet,
            self._chain_time,
            _tiers(settings),
        )
        self._follower = Follower(
            store, self._reader, fetcher, self._clock, self._desk.release, self._desk.confirm, local
        )
        self._courier = Courier(store, self._clock, poster.post, self._bell)
        self._sender = Sender(
            rpc,
            store,
            signer,
            self._clock,
            self._head,
            self._follower.on_outcome,
            confirmations=settings.network.confirmations,
            caps=FeeCaps(settings.fees.max_fee),
            budget=DayBudget(settings.fees.day_budget),
        )
        self._publisher = Publisher(
            store, OgpuPinner(network.pin_url, pinning), self._clock, self._bell, self._sender.wake
        )

    async def serve(self) -> None:
        chosen = self._settings.gateway
        at = bound(chosen.host, chosen.port)
        if chosen.metrics_port:
            self._metrics.serve(chosen.host, chosen.metrics_port)
        port = at.getsockname()[1]
        app = create_app(self._api(port), body_limit=chosen.body_limit)
        await self._desk.restore()
        watcher = Watcher(self._rpc, self._network, self._deliver, self._clock, await self._store.cursor())
        log.info("gateway_started", client=self._client, network=self._network.name, port=port)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sender.run(), name="sender")
            group.create_task(watcher.run(), name="watcher")
            group.create_task(self._publisher.run(), name="pinning")
            group.create_task(self._courier.run(), name="webhooks")
            group.create_task(self._look_again(), name="sweep")
            group.create_task(listen(app, at), name="http")

    def _api(self, port: int) -> Api:
        chosen = self._settings.gateway
        place = httpx.URL(chosen.public_url or f"http://{chosen.host}:{port}")
        site = Site(place.netloc.decode(), str(place), self._network.chain_id, chosen.sign_in_budget)
        return Api(
            store=self._store,
            desk=self._desk,
            streams=Streams(self._store, self._bell),
            local=self._local,
            rates=Rates(),
            signin=SignIn(self._store, self._clock, site),
            metrics=self._metrics,
            clock=self._clock,
            currency=self._network.currency,
            secure=place.scheme == "https",
        )

    async def _deliver(self, block: Block, facts: Sequence[Fact]) -> None:
        self._head.block = block
        await self._sender.observe(block, facts)
        await self._follower.deliver(block, facts)

    def _chain_time(self) -> float:
        """The clock's, or the head's where that is ahead: no task is published that the chain takes for expired."""
        head = self._head.block
        return max(self._clock.now(), head.timestamp if head else 0.0)

    async def _look_again(self) -> None:
        """Hold orders against the chain in turn, and tell the operator how things stand."""
        position = 0
        while True:
            found = await self._store.unsettled(position, limit=LOOK_AT)
            for _, order in found:
                await self._follower.look(order)
            position = found[-1][0] if len(found) == LOOK_AT else 0
            await self._measure()
            await self._clock.sleep(LOOK_S)

    async def _measure(self) -> None:
        for state, number in (await self._store.counts()).items():
            self._metrics.orders.labels(state).set(number)
        for outcome, number in self._courier.told.items():
            self._metrics.webhooks.labels(outcome).set(number)
        if self._head.block is not None:
            self._metrics.head.set(self._head.block.number)
        if (known := self._balance.known) is not None:
            self._metrics.balance.set(known / COIN)


def _tiers(settings: Settings) -> dict[str, Quota]:
    chosen = settings.gateway.tiers.items()
    return {**TIERS, **{name: Quota(one.hourly, one.concurrent, one.batches) for name, one in chosen}}


class Balance:
    """What the client has in the Vault, in wei: asked once a block, however many orders come."""

    def __init__(self, reader: ChainReader, network: Network, client: Address, head: Head) -> None:
        self._reader = reader
        self._network = network
        self._client = client
        self._head = head
        self._at: Block | None = None
        self._asking = asyncio.Lock()
        self.known: Wei | None = None

    async def read(self) -> Wei:
        """Raises ChainError."""
        async with self._asking:
            if self.known is None or self._at is None or self._at is not self._head.block:
                at = self._head.block
                found: Wei = await self._reader.read(self._network.vault, "Vault.balanceOf", self._client)
                self.known, self._at = found, at
            return self.known
