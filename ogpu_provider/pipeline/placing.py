"""Where a source runs: its devices and its containers, and whose go down so that others can have theirs."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import structlog

from ogpu_provider.domain.errors import EngineError, ProviderError, Retry
from ogpu_provider.domain.project import ProjectSpec
from ogpu_provider.domain.resources import Device, source_holder
from ogpu_provider.domain.source import Environment, ServedSource, SourceState
from ogpu_provider.domain.units import Address
from ogpu_provider.pipeline.ports import Ports
from ogpu_provider.pipeline.rows import SourceRows, Unfit
from ogpu_provider.pipeline.warmth import Warmth

log = structlog.get_logger()

OUT_OF_MEMORY = ("engine.oom", "engine.device_memory")


class Placing:
    """`again` has a source looked at again. `occupied` says whether tasks are in a source's containers.

    `out_of_memory` is told of a source that ran out of it, and of the code of that.
    """

    def __init__(
        self,
        ports: Ports,
        rows: SourceRows,
        warmth: Warmth,
        *,
        again: Callable[[Address], None],
        occupied: Callable[[Address], bool],
        out_of_memory: Callable[[Address, str], None],
    ) -> None:
        self._ports = ports
        self._rows = rows
        self.warmth = warmth
        self._again = again
        self._occupied = occupied
        self._out_of_memory = out_of_memory
        self._postponed: set[Address] = set()

    def postponed(self, address: Address) -> bool:
        """Whether it waits for the tasks in its containers, to have others."""
        return address in self._postponed

    async def postpone(
        self, row: ServedSource, environment: Environment, compose: bytes, waived: frozenset[str]
    ) -> bool:
        """Whether other containers than those that run are wanted, and tasks are in these: they are finished first."""
        spec = ProjectSpec(row.address, environment, compose, (), waived)
        if not (self._occupied(row.address) and self._ports.runtime.replaces(spec)):
            self._postponed.discard(row.address)
            return False
        if row.address not in self._postponed:
            self._postponed.add(row.address)
            text = "other containers than those that run are wanted; the tasks in these are finished first"
            await self._rows.put(replace(row, state=SourceState.WANTED, code="source.finishing", reason=text))
        return True

    async def bring_up(
        self, row: ServedSource, environment: Environment, compose: bytes, waived: frozenset[str]
    ) -> tuple[str, ...]:
        devices = await self._lease(row, environment, compose, waived)
        await self._move(row.address, tuple(device.id for device in devices))
        share = self._ports.scheduler.share(row.address)
        if devices and (share or row.device_memory):  # known of before its containers are there, and need it
            ids = tuple(device.id for device in devices)
            await self._rows.put(replace(self._rows.of(row.address), devices=ids, device_memory=share))
        try:
            await self._ports.runtime.up(ProjectSpec(row.address, environment, compose, devices, waived))
        except ProviderError:
            self._ports.scheduler.release(source_holder(row.address))
            raise
        return tuple(device.id for device in devices)

    async def _move(self, address: Address, devices: tuple[str, ...]) -> None:
        """One that worked on other devices is not ready until its containers are on these."""
        row = self._rows.of(address)
        if row.state is SourceState.READY and row.devices and set(row.devices) != set(devices):
            text = f"it moves from {', '.join(row.devices)} to {', '.join(devices)}"
            log.info("source_moves", source=address, was=row.devices, now=devices)
            await self._rows.put(replace(row, state=SourceState.WANTED, code="source.moving", reason=text))

    async def _lease(
        self, row: ServedSource, environment: Environment, compose: bytes, waived: frozenset[str]
    ) -> tuple[Device, ...]:
        """Raises Unfit (`capacity.devices`)."""
        need = await self._ports.runtime.device_need(compose, environment, waived, row.address)
        images = await self._ports.runtime.device_images(row.address, compose, environment, waived) if need else ()
        grant = partial(self._ports.scheduler.grant_devices, row.address, environment, need, images)
        devices = grant()
        if devices is None and await self._narrow():
            devices = grant()
        while devices is None and (cold := self.warmth.for_devices(environment)):
            await self.cool(cold, f"it was idle, and its devices went to {row.address}")
            devices = grant()
        if devices is None:
            if row.device_memory and not self._occupied(row.address):  # it shared a device, and may not any more
                await self.take_down(row.address)
            text = f"needs {need} free {environment.label} device(s)"
            raise Unfit(text, code="capacity.devices", retry=Retry.LATER)
        return devices

    async def _narrow(self) -> bool:
        """Sources that hold a whole device keep what they are known to need; whether any of them left something."""
        changed = False
        for row in self._ports.book.all():
            share = self._ports.scheduler.share(row.address) if row.devices else 0
            if share != row.device_memory:
                changed = True
                await self._rows.put(replace(row, device_memory=share))
        return changed

    async def make_room(self, address: Address) -> None:
        """One that ran out of memory while it holds a device goes down at once, and comes back after a pause.

        Raises that EngineError.
        """
        try:
            await self._ports.runtime.health(address)
        except EngineError as error:
            if error.code not in OUT_OF_MEMORY or not self._rows.of(address).devices:
                return
            self._out_of_memory(address, error.code)
            await self._rows.put(
                replace(self._rows.of(address), state=SourceState.UNFIT, code=error.code, reason=str(error))
            )
            await self.take_down(address)
            await self._rows.put(replace(self._rows.of(address), devices=()))
            raise

    async def cool(self, address: Address, reason: str) -> None:
        """Its project goes down and its devices are free; it comes up again for a task."""
        await self._rows.put(
            replace(self._rows.of(address), state=SourceState.COLD, code="source.cooled", reason=reason, devices=())
        )
        log.info("source_cooled", source=address, reason=reason)
        await self.take_down(address)
        for waiting in self.warmth.demands:
            self._again(waiting)

    async def cool_idle(self, reason: str, device: str = "") -> Address | None:
        """The source without work for longest goes down, of those on a device if one is named; None: none may."""
        cold = self.warmth.for_memory(device)
        if cold is not None:
            await self.cool(cold, reason)
        return cold

    async def take_down(self, address: Address) -> None:
        """Its containers go, and what they held is free."""
        await self._ports.runtime.down(address)
        self._ports.scheduler.release(source_holder(address))
