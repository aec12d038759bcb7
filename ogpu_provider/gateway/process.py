"""One run of the gateway: key, database, chain and server, joined. It shares no key and no file with the daemon."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import httpx
import structlog
import uvicorn

from ogpu_provider import config
from ogpu_provider.assembly import network_of, open_pool
from ogpu_provider.chain.fees import DayBudget, FeeCaps
from ogpu_provider.chain.networks import Network
from ogpu_provider.chain.pool import RpcPool
from ogpu_provider.chain.reader import ChainReader
from ogpu_provider.chain.sender import Sender
from ogpu_provider.chain.watcher import Watcher
from ogpu_provider.domain.clock import SystemClock
from ogpu_provider.domain.errors import ConfigError, PinError, StoreError
from ogpu_provider.domain.facts import Block, Fact
from ogpu_provider.domain.order import OrderState
from ogpu_provider.domain.units import Wei
from ogpu_provider.gateway.app import create_app
from ogpu_provider.gateway.desk import Desk
from ogpu_provider.gateway.follower import Follower
from ogpu_provider.ipfs.fetch import Fetcher
from ogpu_provider.ipfs.pinners import OgpuPinner
from ogpu_provider.keys import keystore
from ogpu_provider.keys.claim import claimed
from ogpu_provider.keys.client_policy import ClientPolicy
from ogpu_provider.keys.signer import Signer
from ogpu_provider.settings import Settings
from ogpu_provider.store.orders import GatewayStore

log = structlog.get_logger(__name__)
LOOK_S = 5.0
HEADER_LIMIT = 16 << 10
CONNECTIONS = 512


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
            ):
                await Gateway(settings, network, signer, store, rpc, pinning, fetcher).serve()
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
    return Signer(key, policy)


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
    ) -> None:
        self._settings = settings
        self._network = network
        self._store = store
        self._client = signer.address
        self._clock = SystemClock()
        self._head = Head()
        self._reader = ChainReader(rpc, network, signer.address)
        self._pinner = OgpuPinner(network.pin_url, pinning)
        self._unpinned = asyncio.Event()
        self._desk = Desk(store, network, self._clock, self._balance, self._wake)
        self._follower = Follower(store, self._reader, fetcher, self._clock, self._desk.release)
        self._rpc = rpc
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

    async def serve(self) -> None:
        await self._desk.restore()
        watcher = Watcher(self._rpc, self._network, self._deliver, self._clock, await self._store.cursor())
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sender.run(), name="sender")
            group.create_task(watcher.run(), name="watcher")
            group.create_task(self._pin(), name="pinning")
            group.create_task(self._look_again(), name="sweep")
            group.create_task(self._listen(), name="http")

    async def _listen(self) -> None:
        chosen = self._settings.gateway
        app = create_app(self._store, self._desk, currency=self._network.currency, body_limit=chosen.body_limit)
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                host=chosen.host,
                port=chosen.port,
                log_config=None,
                lifespan="off",
                http="h11",
                h11_max_incomplete_event_size=HEADER_LIMIT,
                limit_concurrency=CONNECTIONS,
                timeout_graceful_shutdown=5,
                server_header=False,
            )
        )
        log.info("gateway_started", client=self._client, network=self._network.name)
        await server._serve()  # `serve` would take the signals, which are the command's

    async def _deliver(self, block: Block, facts: Sequence[Fact]) -> None:
        self._head.block = block
        await self._sender.observe(block, facts)
        await self._follower.deliver(block, facts)

    async def _balance(self) -> Wei:
        balance: Wei = await self._reader.read(self._network.vault, "Vault.balanceOf", self._client)
        return balance

    def _wake(self) -> None:
        self._unpinned.set()

    async def _pin(self) -> None:
        """Publish the configs of new orders; their transactions wait for it."""
        while True:
            self._unpinned.clear()
            for order in await self._store.live():
                if order.pinned or order.state is not OrderState.CREATED:
                    continue
                try:
                    await self._pinner.pin("taskConfig.json", await self._store.config(order.id) or b"")
                    await self._store.move(order, "pinned", at=self._clock.now(), pinned=True)
                except (PinError, StoreError) as error:  # one that ended meanwhile needs no pin
                    log.warning("config_not_pinned", order=order.id, code=error.code)
            self._sender.wake()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._unpinned.wait(), LOOK_S)

    async def _look_again(self) -> None:
        while True:
            await self._clock.sleep(LOOK_S)
            for order in await self._store.live():
                await self._follower.look(order)
