"""Which sources we serve, and when each is looked at. How one comes up and goes down: `serving`.

Each source has its own loop; one that fails is tried again with a growing pause if the error says that this may help.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Set
from dataclasses import replace

import structlog

from ogpu_provider.domain.approval import Approval, OnChange
from ogpu_provider.domain.errors import ProviderError, Retry, RpcUnavailable
from ogpu_provider.domain.resources import Lease, source_holder
from ogpu_provider.domain.source import ServedSource, SourceState
from ogpu_provider.domain.together import begin
from ogpu_provider.domain.units import Address
from ogpu_provider.pipeline.approvals import Approvals, NotApproved
from ogpu_provider.pipeline.placing import Placing
from ogpu_provider.pipeline.ports import Ports
from ogpu_provider.pipeline.registration import Registration
from ogpu_provider.pipeline.rows import SourceRows, Unfit
from ogpu_provider.pipeline.serving import Serving
from ogpu_provider.pipeline.warmth import Warmth
from ogpu_provider.pipeline.wishes import SourcePolicy, Wishes

log = structlog.get_logger()


class SourceKeeper:
    """`on_change` is told of each source whose state changed; `on_ready` of one that became ready.

    `looked`: set when the host was read for the first time; no source is placed before.
    """

    def __init__(
        self,
        ports: Ports,
        policy: SourcePolicy,
        *,
        on_change: Callable[[Address], None],
        on_ready: Callable[[Address], Awaitable[None]],
        busy: Callable[[Address], bool],
        engaged: Callable[[Address], bool] | None = None,
        occupied: Callable[[Address], bool] = lambda _source: False,
        looked: asyncio.Event | None = None,
        out_of_memory: Callable[[Address, str], None] = lambda _source, _code: None,
    ) -> None:
        self._looked = looked
        self._ports = ports
        self._policy = policy
        self._approvals = Approvals(ports.journal, policy.compose_change, ports.clock.now)
        self._on_change = on_change
        self._rows = SourceRows(ports, on_change)
        self._warmth = Warmth(
            ports.book, ports.clock, engaged or busy, idle_after=policy.idle_after, warm_for=policy.warm_for
        )
        self._placing = Placing(
            *(ports, self._rows, self._warmth),
            again=self.changed,
            occupied=occupied,
            out_of_memory=out_of_memory,
        )
        self.cool_idle = self._placing.cool_idle
        ports.book.demand = self.demand
        self._wakes: dict[Address, asyncio.Event] = {}
        self._group: asyncio.TaskGroup | None = None
        self._limit = asyncio.Semaphore(policy.at_once)
        self._wishes = Wishes(ports.journal, ports.clock, policy)
        self._serving = Serving(
            *(ports, self._rows, self._wishes, self._approvals, self._warmth, self._placing),
            Registration(ports, timeout=policy.register_timeout),
            on_ready=on_ready,
            busy=busy,
        )

    async def restore(self) -> None:
        """Read our sources from the journal and the devices that running projects hold. Before `run`."""
        await self._wishes.restore()
        for row in await self._ports.journal.sources():
            self._ports.book.put(
                replace(row, state=SourceState.WANTED) if row.state is not SourceState.DROPPED else row
            )
        for project in await self._ports.runtime.recover():
            known = self._ports.book.get(project.source)
            memory = known.device_memory if known and known.devices == project.devices else 0
            holder = source_holder(project.source)
            self._ports.scheduler.restore(Lease(holder, 0, project.devices, project.source, memory))

    async def run(self) -> None:
        async with asyncio.TaskGroup() as self._group:
            for row in self._ports.book.all():
                if row.state is not SourceState.DROPPED:
                    self._start(row.address)
            for address in self._wishes.named:
                self.want(address)
            if self._policy.serve_all:
                await self._discover()
            await asyncio.Event().wait()

    async def _discover(self) -> None:
        """Sources published before we listened; asked for until the chain answers."""
        while True:
            try:
                for address in await self._ports.chain.all_sources():
                    self.published(address)
            except ProviderError as error:
                log.warning("sources_unread", code=error.code, error=str(error))
                await self._ports.clock.sleep(self._policy.retry_pause)
            else:
                return

    def want(self, address: Address) -> None:
        """Serve a source from now on (again). A denied one stays out, and one that the operator removed."""
        if self._wishes.forbids(address):
            return
        row = self._ports.book.get(address)
        if row is None or row.state is SourceState.DROPPED:
            self._ports.book.put(ServedSource(address, SourceState.WANTED, updated_at=self._ports.clock.now()))
        self._start(address)

    async def add(self, address: Address) -> None:
        """The operator wants it, whatever the settings list. Raises Unfit (`source.denied`)."""
        if await self._wishes.add(address) and (row := self._ports.book.get(address)):
            self._ports.book.put(replace(row, state=SourceState.WANTED, code="", reason=""))
        self.want(address)

    async def leave(self, address: Address, *, unregister: bool) -> None:
        """The operator is done with it: no new task, and when none is at work any more the project goes down.

        The registration stays unless `unregister`; then it is undone after the last response was sent.
        """
        await self._wishes.leave(address, unregister=unregister)
        text = "the operator removed it; what was accepted is finished first"
        await self._rows.put(
            replace(self._rows.of(address), state=SourceState.UNFIT, code="source.leaving", reason=text)
        )
        self._start(address)

    def leaving(self) -> int:
        """Sources that were registered when the operator had enough of them, and may be so still."""
        return sum(self._rows.of(each).state is not SourceState.DROPPED for each in self._wishes.unregistering)

    async def approve(
        self,
        address: Address,
        *,
        waivable: Collection[str],
        waive: Collection[str],
        reason: str,
        sha256: str,
        digest: str = "",
    ) -> tuple[Approval, tuple[str, ...]]:
        """The operator says yes to the compose file last seen, see `Approvals.approve`, and to what is offered under
        its images' tags, with `digest` to that alone: their names. Where changes are never taken, no image is.
        """
        never = self._policy.compose_change is OnChange.NEVER
        if never and digest:
            text = "sources.on_change is never: no other image is taken"
            raise NotApproved(text, code="approve.never", remedy="set sources.on_change to ask or same-images")
        approval = await self._approvals.approve(address, waivable=waivable, waive=waive, reason=reason, sha256=sha256)
        log.warning("compose_approved", source=address, sha256=approval.sha256, waived=approval.waived)
        images = () if never else await self._ports.runtime.approved(address, digest)
        self.changed(address)
        return approval, images

    def retry(self, address: Address) -> None:
        """Look again now, whatever pause was meant. Raises Unfit (`source.not_served`)."""
        if self._rows.of(address).state is SourceState.DROPPED or address not in self._wakes:
            raise Unfit(f"{address} is not served here", code="source.not_served", remedy="`sources add` it")
        self._ports.runtime.forgive(address)
        if self._rows.of(address).state is SourceState.COLD:
            self._warmth.demand(address)
        self.changed(address)

    def finished(self, address: Address) -> None:
        """One of its tasks is over: a source that is being left may be rid of its last."""
        self._warmth.used(address)
        own = self._wishes.leaving(address) or self._placing.postponed(address)
        for waiting in (*self._warmth.demands, *([address] if own else ())):
            self.changed(waiting)

    def demand(self, address: Address) -> None:
        """There is a task for a source whose containers are down: bring them up."""
        if self._warmth.demand(address):
            log.info("source_demanded", source=address)
            self.changed(address)

    def _start(self, address: Address) -> None:
        if wake := self._wakes.get(address):
            wake.set()
        elif self._group:
            self._wakes[address] = asyncio.Event()
            begin(self._group, self._keep(address), name=f"source {address}")

    def published(self, address: Address) -> None:
        """Wanted if it is new. One that we know was published anew after its block was undone: look again."""
        row = self._ports.book.get(address)
        if row is None and self._policy.wants(address):
            self.want(address)
        elif row is not None and row.state is SourceState.UNFIT:
            self.changed(address)

    def changed(self, address: Address) -> None:
        """Its parameters, its project or its containers are not what they were: look again."""
        if wake := self._wakes.get(address):
            wake.set()

    def devices_changed(self, usable: Set[str]) -> None:
        """The host has devices that it had not, or that took no new work: sources that found none look again, and
        tasks that wait for those that their source has.
        """
        for row in self._ports.book.all():
            if row.state is SourceState.UNFIT and row.code in ("environment.none", "capacity.devices"):
                self.changed(row.address)
            elif usable & set(row.devices):
                self._on_change(row.address)

    def retire(self, address: Address) -> None:
        """Inactive on chain: no new tasks; the project goes down when the last task is over."""
        self.changed(address)

    def remove(self, address: Address) -> None:
        """The master's RemoveContainer: the project goes down now; the registration stays."""
        if self._ports.book.get(address) and self._group:
            begin(self._group, self._remove(address), name=f"remove {address}")

    async def _remove(self, address: Address) -> None:
        await self._serving.drop(address, "source.removed", "the master asked to remove its containers")
        self.changed(address)

    async def _keep(self, address: Address) -> None:
        wake = self._wakes[address]
        tries = 0
        try:
            if self._looked is not None:
                await self._looked.wait()
            while (row := self._ports.book.get(address)) and row.state is not SourceState.DROPPED:
                wake.clear()
                error = await self._try_to_serve(address)
                if error is None:
                    tries = 0
                    await wake.wait()
                    continue
                most = self._policy.retry_pause if isinstance(error, RpcUnavailable) else self._policy.retry_pause_max
                pause = min(self._policy.retry_pause * 2**tries, most)
                tries += 1
                await self._pause(wake, None if error.retry is Retry.NEVER else pause)
        finally:
            del self._wakes[address]

    async def _pause(self, wake: asyncio.Event, seconds: float | None) -> None:
        waits: set[asyncio.Future[object]] = {asyncio.ensure_future(wake.wait())}
        if seconds is not None:
            waits.add(asyncio.ensure_future(self._ports.clock.sleep(seconds)))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _try_to_serve(self, address: Address) -> ProviderError | None:
        try:
            async with self._limit:
                await self._serving.look(address)
        except RpcUnavailable as error:  # says nothing about the source: it stays what it is
            log.warning("source_unread", source=address, code=error.code, error=str(error))
            return error
        except ProviderError as error:
            row = self._rows.of(address)
            if row.state is not SourceState.DROPPED:
                later = error.code == "capacity.devices" and self._warmth.demanded(address)
                state = SourceState.COLD if later else SourceState.UNFIT
                if not later:
                    self._warmth.met(address)
                await self._rows.put(replace(row, state=state, code=error.code, reason=str(error)))
                log.warning("source_unfit", source=address, code=error.code, reason=str(error), remedy=error.remedy)
            return error
        return None
