"""Memory that runs short, of the host or of a device: the source without work for longest goes down, one at a time."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from ogpu_provider.domain.errors import ProviderError
from ogpu_provider.domain.resources import MemoryReading
from ogpu_provider.domain.units import Address
from ogpu_provider.pipeline.ports import Ports

log = structlog.get_logger()

PAUSE_S = 5.0
LOOKS = 2
"""Seconds between two looks; so many in a row must find too little, so that what one source leaves counts first."""

CoolIdle = Callable[[str, str], Awaitable[Address | None]]
"""Given a reason, and a device or nothing: which source went down, None if none may."""


@dataclass(frozen=True, slots=True)
class PressurePolicy:
    """Shares of the host's memory, and of each device's, to keep free; 0: however little there is."""

    memory: float = 0.05
    device_memory: float = 0.0


class Pressure:
    """`gauge` reads the host's memory, None where nobody knows; a device's is as the scheduler last read it."""

    def __init__(
        self, ports: Ports, policy: PressurePolicy, gauge: Callable[[], MemoryReading | None], cool_idle: CoolIdle
    ) -> None:
        self._ports = ports
        self._policy = policy
        self._gauge = gauge
        self._cool_idle = cool_idle
        self._short: dict[str, int] = {}

    async def run(self) -> None:
        """For ever. As a service."""
        while True:
            await self._ports.clock.sleep(PAUSE_S)
            await self.look()

    async def look(self) -> None:
        """One look at everything; each that is short for the second time in a row costs one source."""
        host = self._gauge() if self._policy.memory else None
        if host is not None:
            share = host.available / host.total if host.total else 1.0
            text = f"{host.available >> 20} of {host.total >> 20} MiB of memory were available"
            await self._judge("", share < self._policy.memory, text)
        for device in self._ports.scheduler.host.devices if self._policy.device_memory else ():
            free = device.memory_total - device.memory_used
            text = f"{free >> 20} of {device.memory_total >> 20} MiB of {device.id} were free"
            await self._judge(device.id, free < self._policy.device_memory * device.memory_total, text)

    async def _judge(self, device: str, short: bool, text: str) -> None:
        self._short[device] = self._short.get(device, 0) + 1 if short else 0
        if self._short[device] < LOOKS:
            return
        self._short[device] = 0
        try:
            cooled = await self._cool_idle(f"it was idle, and {text}", device)
        except ProviderError as error:
            log.warning("source_not_cooled", code=error.code, error=str(error))
        else:
            if cooled is not None:
                log.warning("memory_short", device=device or "host", reason=text, cooled=cooled)
