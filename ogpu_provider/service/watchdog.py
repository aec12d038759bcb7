"""Feeds the service manager's watchdog from work that was really done.

    every quarter of the limit: each proof must return ──all did──▶ WATCHDOG=1
                                            └─one hangs─▶ nothing is said; the manager restarts the daemon

A timer would go on ticking over a daemon that is stuck. A proof is a piece of the daemon's own work: a row read
through the journal's thread, a block whose delivery came to its end. Waiting for a chain or an engine that does not
answer is no fault of the daemon, and a restart would not mend it; so no proof asks one.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager

import structlog

from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.errors import ProviderError
from ogpu_provider.service.notify import Notifier

log = structlog.get_logger()
Proof = Callable[[], Awaitable[object]]


class Watchdog:
    """`limit`: seconds of silence after which the manager acts; None if it watches nobody.

    A proof that raises ProviderError has answered: what is wrong is for the part itself to deal with.
    """

    def __init__(self, notifier: Notifier, limit: float | None, proofs: Mapping[str, Proof], clock: Clock) -> None:
        self._notifier = notifier
        self._limit = limit
        self._proofs = proofs
        self._clock = clock

    async def run(self) -> None:
        """Until canceled; at once if nobody watches."""
        if self._limit is None:
            return
        while True:
            await self.round()
            await self._clock.sleep(self._limit / 4)

    async def round(self) -> None:
        """Every proof once, one after the other, then one sign of life."""
        for name, proof in self._proofs.items():
            asking = asyncio.ensure_future(self._ask(proof))
            patience = asyncio.ensure_future(self._clock.sleep(self._limit or 0.0))
            try:
                await asyncio.wait({asking, patience}, return_when=asyncio.FIRST_COMPLETED)
                if not asking.done():
                    log.error("service_stuck", service=name, seconds=self._limit)
                await asking
            finally:
                asking.cancel()
                patience.cancel()
        self._notifier.alive()

    async def _ask(self, proof: Proof) -> None:
        try:
            await proof()
        except ProviderError as error:
            log.warning("service_troubled", code=error.code, error=str(error))


class Work:
    """Pieces of work under way. `ended` is a proof: it returns when none has been under way for `patience` seconds."""

    def __init__(self, clock: Clock, patience: float) -> None:
        self._clock = clock
        self._patience = patience
        self._begun: dict[int, float] = {}
        self._next = 0

    @contextmanager
    def piece(self) -> Iterator[None]:
        self._next = number = self._next + 1
        self._begun[number] = self._clock.monotonic()
        try:
            yield
        finally:
            del self._begun[number]

    async def ended(self) -> None:
        while self._begun and self._clock.monotonic() - min(self._begun.values()) > self._patience:
            await self._clock.sleep(0.5)
