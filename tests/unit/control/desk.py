"""The daemon's desk over a path in memory, with a chain that says what a test wants of the account."""

import asyncio
import io
import math
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import structlog

from ogpu_provider.chain.endpoint import EndpointHealth
from ogpu_provider.chain.fees import FeeCaps
from ogpu_provider.chain.rpc import Rpc
from ogpu_provider.chain.wallet import FeeData, Pairing, VaultAccount, Wallet
from ogpu_provider.control.account import AccountWatch
from ogpu_provider.control.desk import Desk
from ogpu_provider.control.devices import DeviceDesk
from ogpu_provider.control.server import ControlServer
from ogpu_provider.control.wire import SOCKET_NAME
from ogpu_provider.domain.approval import OnChange
from ogpu_provider.domain.errors import RpcUnavailable
from ogpu_provider.domain.resources import Device, Host
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.units import COIN, Address
from ogpu_provider.pipeline.orders import Orders
from ogpu_provider.pipeline.wishes import SourcePolicy
from ogpu_provider.scheduler.health import HealthPolicy
from ogpu_provider.scheduler.inventory import Inventory
from ogpu_provider.scheduler.reading import DeviceReading, Gauges, GpuProcess, Reading
from ogpu_provider.scheduler.ward import Ward
from ogpu_provider.telemetry import Metrics
from tests.fakes.chain import OTHER, US
from tests.fakes.ledger import NETWORK
from tests.unit.pipeline.stage import Daemon, Outside, running

GPU = Device("GPU-1", Environment.NVIDIA, "Test \x1b[31mGPU", 24 << 30, 1 << 30)
MASTER = OTHER
CAP = 5 * 10**9
PAIRED = Pairing(MASTER, True, "", "")
WELL = EndpointHealth("127.0.0.1:8545", True, 9, 0, "", True, 0.0, 0.0, math.inf, 0.002, 0, True)
VAULT = VaultAccount(COIN, COIN, 0, 0, 0, 0, True, False)


class FakeWallet(Wallet):
    """Says what its attributes say; with `down`, nothing."""

    def __init__(self) -> None:
        super().__init__(Rpc(NETWORK), NETWORK)
        self.coin = COIN
        self.pair = PAIRED
        self.stake = VAULT
        self.price = FeeData(10**9, 2 * 10**9, 10**9)
        self.down = False

    async def balance(self, account: Address) -> int:
        if self.down:
            raise RpcUnavailable("no answer in 10 s")
        return self.coin

    async def pairing(self, provider: Address) -> Pairing:
        return self.pair

    async def vault(self, account: Address) -> VaultAccount:
        return self.stake

    async def fees(self) -> FeeData:
        return self.price


@dataclass
class Office:
    """A desk and what is behind it."""

    daemon: Daemon
    desk: Desk
    wallet: FakeWallet
    orders: Orders
    endpoints: list[EndpointHealth]


async def see_gpu() -> Reading:
    gauges = Gauges(utilisation=97, temperature=71, power=312.5, pcie_width=8, pcie_width_max=16)
    return Reading((DeviceReading(GPU, gauges, (GpuProcess(4242, 1 << 30),)),))


@asynccontextmanager
async def open_office(
    outside: Outside, *, gpu: bool = False, on_change: OnChange = OnChange.ASK
) -> AsyncIterator[Office]:
    sources = SourcePolicy(serve_all=True, compose_change=on_change)
    async with running(outside, host=Host(2, (GPU,) if gpu else ()), sources=sources) as daemon:
        wallet = FakeWallet()
        watch = AccountWatch(wallet, US, outside.clock, FeeCaps(CAP))
        await watch.look()
        ends = [WELL]
        ward = Ward(outside.journal, HealthPolicy(), outside.clock, outside.runtime.test)
        inventory = Inventory(2, [see_gpu] if gpu else [], (ward,))
        await ward.restore()
        await inventory.refresh()
        desk = Desk(
            network="devnet",
            path=daemon.path,
            scheduler=daemon.scheduler,
            account=watch,
            endpoints=lambda: ends,
            metrics=Metrics(),
            started_at=outside.clock.now(),
            cordons=lambda: ward.standing,
            more=DeviceDesk(inventory, ward, daemon.scheduler, outside.clock).verbs,
        )
        yield Office(daemon, desk, wallet, daemon.path.orders, ends)


@dataclass
class Counter:
    """An office in a thread of its own, reached only through its socket in `folder`; ends when it is drained.

    `prepare` runs in it before the socket opens.
    """

    folder: Path
    prepare: Callable[[Office], Awaitable[None]] | None = None
    outside: Outside = field(default_factory=Outside)

    def __enter__(self) -> "Counter":
        structlog.configure(
            logger_factory=structlog.PrintLoggerFactory(io.StringIO())
        )  # what commands print is looked at
        self._loop = asyncio.new_event_loop()
        self._ready, self._failed = threading.Event(), list[BaseException]()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()
        assert self._ready.wait(20)
        if self._failed:
            raise self._failed[0]
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(20)
        assert not self._thread.is_alive()

    def _work(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except BaseException as error:
            self._failed.append(error)
        finally:
            self._ready.set()
            self._loop.close()

    async def _serve(self) -> None:
        self._end = asyncio.Event()
        async with open_office(self.outside, gpu=True) as office:
            if self.prepare:
                await self.prepare(office)
            async with ControlServer(self.folder / SOCKET_NAME, office.desk.verbs):
                self._ready.set()
                waits = {asyncio.ensure_future(self._end.wait()), asyncio.ensure_future(office.orders.drained())}
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                for wait in waits:
                    wait.cancel()


def unpaired(pair: Pairing = PAIRED) -> Pairing:
    return replace(pair, announced=False)
