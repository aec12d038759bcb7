"""How a source comes up and goes down.

WANTED -> fetch -> gate -> devices -> up -> register -> READY. A project is up and answers before we register, so
that we never promise to serve what cannot run here.
"""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace

import structlog

from ogpu_provider.domain.errors import Retry
from ogpu_provider.domain.source import Environment, ServedSource, SourceParams, SourceState, SourceStatus
from ogpu_provider.domain.units import Address
from ogpu_provider.domain.wish import Want
from ogpu_provider.pipeline.approvals import Approvals
from ogpu_provider.pipeline.documents import SourceDocuments
from ogpu_provider.pipeline.placing import Placing
from ogpu_provider.pipeline.ports import Ports
from ogpu_provider.pipeline.registration import Registration
from ogpu_provider.pipeline.rows import SourceRows, Unfit
from ogpu_provider.pipeline.warmth import Warmth
from ogpu_provider.pipeline.wishes import Wishes

log = structlog.get_logger()


class Serving:
    """`on_ready` is told of a source that became ready. `busy`: whether a task of it is at work."""

    def __init__(
        self,
        ports: Ports,
        rows: SourceRows,
        wishes: Wishes,
        approvals: Approvals,
        warmth: Warmth,
        placing: Placing,
        registration: Registration,
        *,
        on_ready: Callable[[Address], Awaitable[None]],
        busy: Callable[[Address], bool],
    ) -> None:
        self._ports = ports
        self._rows = rows
        self._wishes = wishes
        self._approvals = approvals
        self._warmth = warmth
        self._placing = placing
        self._registration = registration
        self._documents = SourceDocuments(ports.content)
        self._on_ready = on_ready
        self._busy = busy

    async def look(self, address: Address) -> None:
        """Bring one source as far as it can be brought now. Raises ProviderError with why it goes no further."""
        if self._wishes.leaving(address):
            await self._leave(address)
            return
        params = await self._ports.chain.source(address)
        if params.status is SourceStatus.INACTIVE:
            if not self._busy(address):
                await self.drop(address, "source.inactive", "its client has set it inactive")
        elif self._rows.of(address).state is not SourceState.COLD or self._warmth.demanded(address):
            await self._serve(address, params)

    async def drop(self, address: Address, code: str, reason: str) -> None:
        """No task of it any more; the project goes down."""
        await self._rows.put(
            replace(self._rows.of(address), state=SourceState.DROPPED, code=code, reason=reason, devices=())
        )
        log.warning("source_dropped", source=address, code=code, reason=reason)
        await self._placing.take_down(address)

    async def _serve(self, address: Address, params: SourceParams) -> None:
        registered = await self._ports.chain.registered_environment(address)
        environment = self._environment(params, registered)
        row, compose = await self._read(address, params, environment, registered=bool(registered))
        waived = await self._approvals.waived(
            address, row.compose_sha256, lambda waived: self._ports.runtime.images(compose, environment, waived)
        )
        await self._placing.make_room(address)
        if await self._placing.postpone(row, environment, compose, waived):
            return
        devices = await self._placing.bring_up(row, environment, compose, waived)
        if not registered and not self._wishes.leaving(address):
            await self._registration.make(address, environment)
        if self._rows.of(address).state is not SourceState.DROPPED and not self._wishes.leaving(address):
            await self._ready(replace(row, devices=devices))

    def _environment(self, params: SourceParams, registered: Environment | None) -> Environment:
        """Raises Unfit (`environment.none`)."""
        environment = registered or self._ports.scheduler.choose_environment(params.environments)
        if environment is None or environment not in self._ports.scheduler.host.environments:
            raise Unfit(_no_environment(params, registered), code="environment.none")
        return environment

    async def _read(
        self, address: Address, params: SourceParams, environment: Environment, *, registered: bool
    ) -> tuple[ServedSource, bytes]:
        """The row with what chain and documents say of it, and the compose file. A new file makes it WANTED."""
        row = replace(self._rows.of(address), params=params, environment=environment, registered=registered)
        name, compose = await self._documents.fetch(row, params, environment)
        row = replace(row, name=name, compose_sha256=hashlib.sha256(compose).hexdigest())
        now = self._rows.of(address)
        if now.state is not SourceState.READY or now.compose_sha256 != row.compose_sha256:
            row = replace(row, state=SourceState.WANTED, code="", reason="")
            await self._rows.put(row)
        return row, compose

    async def _ready(self, row: ServedSource) -> None:
        address, environment = row.address, row.environment
        if self._rows.of(address).state is not SourceState.READY:
            self._warmth.used(address)
        self._warmth.met(address)
        ready = replace(row, state=SourceState.READY, registered=True, code="", reason="")
        await self._rows.put(replace(ready, device_memory=self._ports.scheduler.share(address)))
        label = environment.label if environment else ""
        log.info("source_ready", source=address, name=row.name, environment=label, devices=row.devices)
        await self._on_ready(address)

    async def _leave(self, address: Address) -> None:
        if self._busy(address):
            raise Unfit(self._rows.of(address).reason, code="source.leaving", retry=Retry.LATER)
        await self._placing.take_down(address)
        if self._wishes.leaving(address) is Want.UNREGISTER and await self._ports.chain.registered_environment(address):
            await self._registration.undo(address)
            self._ports.book.put(replace(self._rows.of(address), registered=False))
        if self._wishes.leaving(address):
            await self.drop(address, "source.left", "the operator removed it")


def _no_environment(params: SourceParams, registered: Environment | None) -> str:
    offered = ", ".join(sorted(env.label for env in params.environments)) or "nothing"
    if registered:
        return f"registered for {registered.label}, which this host does not have"
    return f"offers {offered}, and this host has none of it"
