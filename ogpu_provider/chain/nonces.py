"""Our nonces, held against those that the chain has used.

    the chain's is past ours                                somebody else sends with this key: the service ends
    it has used one of ours in no transaction of ours       the same, believed after some blocks
    it waits for one that nothing in flight has             what we signed with it again; else a filler

The last happens where more blocks were undone than confirmations are asked for: what was in them is closed, and nobody
looks at it any more. It is believed after some blocks too, because a node may be behind; but ours is looked for at once
while the chain is not longer again than it was, and after a start that finds less of ours than there was.
"""

from itertools import islice

import structlog

from ogpu_provider.chain.account import Account
from ogpu_provider.chain.courier import Courier
from ogpu_provider.chain.desk import Desk, filler
from ogpu_provider.chain.flights import Flight, Flights
from ogpu_provider.chain.outbox import Outbox
from ogpu_provider.chain.receipts import Node, read_receipts
from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.errors import ForeignNonce
from ogpu_provider.domain.facts import Block
from ogpu_provider.domain.intent import Effect, IntentState, SignedTx

log = structlog.get_logger(__name__)

BELIEVED = 3
"""Blocks for which a nonce is missing before it is filled."""
GAPS = 100
"""So many missing nonces are looked into at a time, whatever number a node gives."""

_S = IntentState


class Nonces:
    def __init__(
        self,
        rpc: Node,
        outbox: Outbox,
        flights: Flights,
        desk: Desk,
        courier: Courier,
        clock: Clock,
        confirmations: int,
    ) -> None:
        self._rpc = rpc
        self._outbox = outbox
        self._flights = flights
        self._desk = desk
        self._courier = courier
        self._clock = clock
        self._confirmations = confirmations
        self._gaps: dict[int, int] = {}
        self._looked_into: set[int] = set()
        self._undone = 0
        self._lacking = False

    @property
    def gaps(self) -> bool:
        """Whether the chain waits for a nonce that nothing in flight has."""
        return bool(self._gaps)

    @property
    def unsure(self) -> bool:
        """Whether closed transactions may be in no block any more, so that the account is to be read soon."""
        return self._shorter or not self._looked_into.issuperset(self._believed())

    def begin(self, account: Account) -> None:
        """The first look: what the chain lacks of ours may have been undone while nobody looked."""
        self._lacking = account.nonce < self._flights.next_nonce

    def heard(self, block: Block) -> bool:
        """A block was read, and is not observed yet; returns whether the account is to be read at once."""
        deep = self._lacking or block.number <= self._flights.observed - self._confirmations
        if deep:
            self._undone = max(self._undone, self._flights.observed, block.number)
        self._lacking = False
        return deep

    async def compare(self, account: Account) -> None:
        """Hold our nonces against the chain's. Raises ForeignNonce, RpcUnavailable, StoreError."""
        if account.nonce > self._flights.next_nonce:
            raise self._foreign(account.nonce - 1)
        await self._passed(account)
        await self._fill(account)

    async def _passed(self, account: Account) -> None:
        """Nonces that the chain has used while no transaction of ours was in a block; believed after some blocks."""
        observed = self._flights.observed
        for flight in self._flights:
            if flight.row.nonce is None or flight.row.state not in (_S.SIGNED, _S.SENT):
                continue
            if flight.row.nonce >= account.nonce:
                flight.passed = None
            elif flight.passed is None:
                flight.passed, flight.suspect = observed, True
            elif observed - flight.passed > max(self._confirmations, 1):
                found = await read_receipts(self._rpc, [tx.hash for tx in flight.txs])
                if len(found) == len(flight.txs) and not any(found.values()):
                    await self._taken(flight)

    async def _taken(self, flight: Flight) -> None:
        """The process that signed for the nonce ends, and names it; a later one goes on without."""
        if flight.row.intent.effect is Effect.FILL:
            return await self._courier.close(flight, _S.ABANDONED, why="the gap is filled")
        error = self._foreign(flight.row.nonce or 0)
        if not flight.inherited:
            raise error
        log.error("tx.nonce_taken", intent=flight.key, nonce=flight.row.nonce, remedy=error.remedy)
        return await self._courier.close(flight, _S.ABANDONED, why="another host used its nonce")

    async def _fill(self, account: Account) -> None:
        """A nonce that nothing in flight has, while the chain waits for it."""
        carried = {flight.row.nonce for flight in self._flights if flight.row.nonce is not None}
        free = (n for n in range(account.nonce, self._flights.next_nonce) if n not in carried)
        observed = self._flights.observed
        self._gaps = {nonce: self._gaps.get(nonce, observed) for nonce in islice(free, GAPS)}
        self._looked_into = believed = self._believed()
        for nonce in self._gaps if self._shorter else sorted(believed):
            if signed := await self._outbox.signed_at(nonce):
                await self._refill(signed)
            elif nonce in believed and nonce < self._flights.highest_open_nonce():
                key = next(flight.key for flight in self._flights if flight.row.nonce is not None)
                if await self._outbox.plan(filler(nonce, self._desk.address, key), at=self._clock.now()):
                    log.warning("tx.gap_filled", nonce=nonce)
                    self._courier.woken.set()

    async def _refill(self, signed: list[SignedTx]) -> None:
        """The block of a closed intent was undone: it goes on where it was."""
        found = await read_receipts(self._rpc, [tx.hash for tx in signed])
        row = await self._outbox.intent(signed[-1].intent_key)
        if row is None or row.block_number is None or len(found) < len(signed) or any(found.values()):
            return
        log.warning("tx.reopened", intent=row.intent.key, nonce=row.nonce, block=row.block_number)
        await self._flights.reopen(row.intent.key, head=self._flights.observed)

    @property
    def _shorter(self) -> bool:
        """Whether the chain is not as long again as it was before blocks below closed transactions were undone."""
        return 0 < self._flights.observed <= self._undone

    def _believed(self) -> set[int]:
        """Nonces that have been missing for long enough."""
        return {nonce for nonce, since in self._gaps.items() if self._flights.observed - since >= BELIEVED}

    def _foreign(self, nonce: int) -> ForeignNonce:
        return ForeignNonce(
            f"nonce {nonce} of {self._desk.address} was used by a transaction that this host never signed",
            remedy="another host or program sends with this key: stop it, or give this host a key of its own",
        )
