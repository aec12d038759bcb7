"""The composition root: builds the parts, joins the adapters to the ports, runs the services.

One TaskGroup of named services; a service that dies takes the daemon down loudly. Leaving is not killing: when
canceled, the services stop where they stand, which is safe because a crash is, and the containers stay up to be
adopted by the next run.
"""

import asyncio
import secrets
import socket
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress

import httpx
import structlog

from ogpu_provider import policies, telemetry
from ogpu_provider.alerting import Alerting
from ogpu_provider.assembly import network_of, open_pool, open_signer
from ogpu_provider.chain.networks import Network
from ogpu_provider.chain.pool import RpcPool
from ogpu_provider.chain.wallet import Wallet
from ogpu_provider.control.account import AccountWatch
from ogpu_provider.control.desk import Desk
from ogpu_provider.control.devices import DeviceDesk
from ogpu_provider.control.server import ControlServer
from ogpu_provider.control.wire import SOCKET_NAME
from ogpu_provider.domain.clock import SystemClock
from ogpu_provider.domain.errors import ProviderError
from ogpu_provider.domain.facts import Block, Fact
from ogpu_provider.domain.intent import IntentRow
from ogpu_provider.domain.task import Task, TaskState
from ogpu_provider.domain.together import first_of
from ogpu_provider.domain.units import Address
from ogpu_provider.environment import ServiceManager
from ogpu_provider.experience import Experience
from ogpu_provider.hardware import Hardware
from ogpu_provider.hosting import Host, OpenRuntime, open_callback, open_runtime
from ogpu_provider.ipfs.content import IpfsContent
from ogpu_provider.ipfs.fetch import Fetcher
from ogpu_provider.ipfs.pinners import OgpuPinner
from ogpu_provider.keys.claim import claimed
from ogpu_provider.keys.signer import Signer
from ogpu_provider.metering import Metering
from ogpu_provider.onchain import OnChain
from ogpu_provider.pipeline.path import TaskPath
from ogpu_provider.pipeline.ports import Ports
from ogpu_provider.pipeline.pressure import Pressure
from ogpu_provider.runtime import hostmemory
from ogpu_provider.runtime.callback.server import CallbackServer
from ogpu_provider.runtime.engine import Engine
from ogpu_provider.runtime.projects import Projects
from ogpu_provider.scheduler.scheduler import HostScheduler
from ogpu_provider.service.activation import listener
from ogpu_provider.service.notify import Notifier
from ogpu_provider.service.pauses import spare_the_start
from ogpu_provider.service.watchdog import Watchdog, Work
from ogpu_provider.settings import Settings
from ogpu_provider.store.sqlite import SqliteStore

sys.setrecursionlimit(1000)  # a library raised it to 100,000 on import: deep data would then end the process
log = structlog.get_logger()

LONGEST_WORK_S = 120.0
"""A block's delivery or a look at the devices that takes longer is stuck: calls to the node end before."""


async def run(settings: Settings, manager: ServiceManager | None = None) -> None:
    """Serve until canceled, telling the service manager. Raises ProviderError for what keeps the daemon from
    starting, or makes it end.
    """
    manager = manager or ServiceManager()
    activated = listener(manager.descriptors)
    network = network_of(settings)
    signer = await open_signer(settings, network)
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    async with AsyncExitStack() as stack:
        journal = await SqliteStore.open(settings.journal, chain_id=network.chain_id, provider=signer.address)
        stack.push_async_callback(journal.close)
        try:
            stack.enter_context(claimed(network.scope, signer.address))
            rpc = await stack.enter_async_context(open_pool(settings, network))
            daemon = Daemon(settings, network, signer, journal, rpc, await open_runtime(settings), manager, activated)
            stack.push_async_callback(daemon.aclose)
            log.info("daemon_started", provider=signer.address, network=network.name, boot=daemon.ports.boot)
            await journal.note("ended", "")
            await daemon.serve()
        except* ProviderError as errors:
            error = first_of(errors)
            with suppress(ProviderError):
                await journal.note("ended", f"{error.code}: {error}")  # also where it could not start: `status` says so
            raise error from None
        finally:
            Notifier(manager.notify_socket).stopping()
            log.info("daemon_stopped")


class _Drained(Exception):
    """Nothing is owed any more, and the operator wanted the daemon to end then."""


class Daemon:
    """All parts of one run, joined."""

    def __init__(
        self,
        settings: Settings,
        network: Network,
        signer: Signer,
        journal: SqliteStore,
        rpc: RpcPool,
        runtime: OpenRuntime,
        manager: ServiceManager,
        activated: socket.socket | None,
    ) -> None:
        self.settings = settings
        self.provider = signer.address
        self.clock = SystemClock()
        self.engine = Engine(settings.runtime.docker_host)
        self._network = network
        self._rpc = rpc
        self._pinning = httpx.AsyncClient(trust_env=False)
        self._fetcher = Fetcher(allow_private=settings.network.allow_private_urls)
        self._experience = Experience(settings, self.clock, journal)
        self._lessons, judged = self._experience.lessons, self._experience.assessment.circumstances
        self._runtime = runtime(self._as_host())
        self.metrics = telemetry.Metrics()
        engine = self.engine if settings.runtime.engine == "docker" else None
        self._hardware = Hardware(settings, self.clock, journal, self._runtime, engine, self._cordons_changed)
        sharing = policies.sharing(settings, self._lessons.knowledge)
        self._scheduler = HostScheduler(
            self._hardware.inventory.host,
            policies.admission_policy(settings),
            judged,
            sharing,
            policies.line_policy(settings),
        )
        self._metering = Metering(self.clock, self._runtime, self._lessons, self._scheduler)
        self._onchain = OnChain(settings, network, rpc, signer, journal, self.clock, self._on_outcome)
        self.ports = self._new_ports(journal)
        self._path = TaskPath(
            self.ports,
            policies.source_policy(settings),
            self._observe,
            looked=self._hardware.looked,
            out_of_memory=self._metering.out_of_memory,
        )
        self._scheduler.outbid = self._path.conductor.nudge
        self._hardware.join(self._scheduler, self._path.conductor.leases, self._path.keeper, self._metering)
        pressure = policies.pressure_policy(settings)
        self._pressure = Pressure(self.ports, pressure, hostmemory.read, self._path.keeper.cool_idle)
        self._account = AccountWatch(Wallet(rpc, network), signer.address, self.clock, self._onchain.caps)
        self._onchain.join(self._path, self._experience.rivals.hear)
        self._desk = self._new_desk()
        self._alerting = Alerting(settings, self._desk, journal, self.clock, self.provider)
        self._callback: CallbackServer | None = None
        self._activated = activated
        self._notifier = Notifier(manager.notify_socket)
        self._work = Work(self.clock, LONGEST_WORK_S)
        proofs = {"journal": journal.cursor, "deliveries and devices": self._work.ended}
        self._watchdog = Watchdog(self._notifier, manager.watchdog, proofs, self.clock)

    def _as_host(self) -> Host:
        return Host(
            self.engine,
            self.provider,
            self.clock,
            self.callback_url,
            lambda source: self._path.project_changed(source),
            self._lessons.pulled,
            self._lessons.started,
        )

    def _new_ports(self, journal: SqliteStore) -> Ports:
        network = self._network
        return Ports(
            journal=journal,
            chain=self._onchain.reader,
            sender=self._onchain.sender,
            content=IpfsContent(self._fetcher, OgpuPinner(network.pin_url, self._pinning)),
            runtime=self._runtime,
            scheduler=self._scheduler,
            clock=self.clock,
            boot=secrets.token_hex(8),
            started_at=self.clock.now(),
            head=self._onchain.head,
            policy=policies.path_policy(self.settings),
        )

    def _new_desk(self) -> Desk:
        return Desk(
            network=self._network.name,
            path=self._path,
            scheduler=self._scheduler,
            account=self._account,
            endpoints=self._rpc.health,
            metrics=self.metrics,
            started_at=self.clock.now(),
            traffic=self._runtime.traffic,
            experience=self._experience.document,
            count=self._runtime.count,
            pulls=self._runtime.pulls,
            offers=self._runtime.offers,
            cordons=lambda: self._hardware.ward.standing,
            more=DeviceDesk(self._hardware.inventory, self._hardware.ward, self._scheduler, self.clock).verbs,
        )

    async def serve(self) -> None:
        """Journal, chain, engine, then act: take stock of what was and of what runs, then start every service."""
        await self._hardware.restore()
        self._callback = await open_callback(self.settings, self.engine, self._path.results, self._activated)
        cursor = await self.ports.journal.cursor()
        watcher = self._onchain.watcher(self._deliver, cursor)
        await self._experience.restore()
        await self._path.restore()
        control = ControlServer(self.settings.data_dir / SOCKET_NAME, self._desk.verbs)
        try:
            async with self._callback, control, self._onchain.witness, asyncio.TaskGroup() as group:
                group.create_task(self._runtime.watch(), name="engine events")
                if isinstance(self._runtime, Projects):
                    group.create_task(self._runtime.keep_guard(), name="egress")
                    group.create_task(self._runtime.keep_tidy(), name="orphans")
                    group.create_task(self._runtime.tag_watch.run(), name="tags")
                group.create_task(self._path.run(cursor[0] if cursor else 0), name="path")
                await self._path.started()
                self._metering.resume(await self.ports.journal.live())
                group.create_task(self._onchain.sender.run(), name="sender")
                group.create_task(watcher.run(), name="watcher")
                group.create_task(self._pressure.run(), name="memory")
                group.create_task(self._experience.run(self._path.conductor.nudge_seen), name="experience")
                group.create_task(self._hardware.run(self._work.piece), name="inventory")
                group.create_task(self._hardware.ward.run(), name="ward")
                group.create_task(self._metering.run(), name="metering")
                group.create_task(self._watchdog.run(), name="watchdog")
                group.create_task(spare_the_start(self.clock), name="start spared")
                group.create_task(self._account.run(), name="account")
                group.create_task(self._alerting.run(), name="alerts")
                group.create_task(self._end_when_drained(), name="drain")
                self._notifier.ready(f"serving as {self.provider} on {self._network.name}")
        except* _Drained:
            log.info("daemon_drained")

    async def _end_when_drained(self) -> None:
        await self._path.orders.drained()
        raise _Drained

    async def aclose(self) -> None:
        await self._runtime.aclose()
        await self._pinning.aclose()
        await self._fetcher.aclose()
        await self._hardware.aclose()

    async def _deliver(self, block: Block, facts: Sequence[Fact]) -> None:
        self.ports.head.block = block
        with self._work.piece():
            await self._path.intake.deliver(block, facts)
        self._desk.heard()
        self.metrics.head_block.set(block.number)

    async def _on_outcome(self, row: IntentRow) -> None:
        self.metrics.transactions.labels(row.intent.effect, row.state).inc()
        self._lessons.paid(row)
        await self._path.reckoning.on_intent(row)

    def _observe(self, task: Task, before: TaskState) -> None:
        self.metrics.task_transitions.labels(task.state).inc()
        self._metering.moved(task, before)
        source = self.ports.book.get(task.source)
        self._experience.moved(task, before, source.params.client if source and source.params else None)

    def _cordons_changed(self) -> None:
        self.metrics.cards_cordoned.set(len(self._hardware.ward.standing))

    def callback_url(self, source: Address) -> str:
        assert self._callback is not None, "projects are started after the callback server"
        return self._callback.url(source)
