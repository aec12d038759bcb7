"""The short way of an intent: its first bytes are signed before it is committed, and committed along with it.

One commit then stands between a decision and its broadcast. The way is open while nothing planned waits for its
signature; otherwise the intent is planned like any other and waits for its turn, so that nothing is overtaken: a
response has no nonce before its attempt.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from ogpu_provider.chain.courier import Courier
from ogpu_provider.chain.desk import Desk
from ogpu_provider.chain.flights import Flight, Flights
from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.errors import ProviderError
from ogpu_provider.domain.intent import Intent, IntentRow, IntentState, SignedTx

TURNS = 3
"""So often everybody else has a turn of the loop before the caller goes on: by then the bytes are at the sockets."""


class Express:
    """Nonces are given by one at a time: by a `turn` of the sender, or to who is `signing`."""

    def __init__(self, flights: Flights, desk: Desk, courier: Courier, clock: Clock) -> None:
        self._flights = flights
        self._desk = desk
        self._courier = courier
        self._clock = clock
        self._giving = asyncio.Lock()
        self._behind = True
        self._doubtful = False

    def close(self) -> None:
        """Something was planned: it is signed first."""
        self._behind = True

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """What was planned is signed meanwhile. Opens the way if all of it was. Raises StoreError."""
        async with self._giving:
            if self._doubtful:
                await self._flights.reread()
                self._doubtful = False
            self._behind = False
            try:
                yield
            except BaseException:
                self._behind = True
                raise
            self._behind |= any(flight.row.state is IntentState.PLANNED for flight in self._flights)

    @asynccontextmanager
    async def signing(self, intents: Sequence[Intent]) -> AsyncIterator[Sequence[SignedTx]]:
        """Signed bytes of `intents`, which the caller commits together with them; sent when the context ends well.

        Nothing where the way is closed, or where one of them is not to be signed now.
        """
        fresh = await self._drafts(intents)
        if not fresh:
            yield ()
            return
        try:
            yield [tx for _, tx in fresh]
            self._flights.took(fresh, head=self._desk.height)
            for flight, tx in fresh:
                self._courier.send(flight, tx)
            for _ in range(TURNS):
                await asyncio.sleep(0)
        except BaseException:  # whether they were committed, the journal knows
            self._doubtful = self._behind = True
            self._courier.woken.set()
            raise
        finally:
            self._giving.release()

    async def _drafts(self, intents: Sequence[Intent]) -> list[tuple[Flight, SignedTx]]:
        """Holds the lock where it returns any."""
        if not intents or self._behind or self._giving.locked() or self._courier.group is None:
            return []
        await self._giving.acquire()
        fresh: list[tuple[Flight, SignedTx]] = []
        try:
            for intent in intents:
                if (draft := await self._draft(intent, fresh)) is None:
                    fresh = []
                    break
                fresh.append(draft)
        except ProviderError:  # said, and acted upon, by the sender in its turn
            fresh = []
        finally:
            if not fresh:
                self._giving.release()
        return fresh

    async def _draft(self, intent: Intent, before: Sequence[tuple[Flight, SignedTx]]) -> tuple[Flight, SignedTx] | None:
        now = self._clock.now()
        flight = Flight(IntentRow(intent, IntentState.PLANNED, planned_at=now, updated_at=now))
        if self._desk.late(flight.row) or any(flight.key == other.key for other in self._flights):
            return None
        tx = await self._desk.first(flight, before)
        return (flight, tx) if tx else None
