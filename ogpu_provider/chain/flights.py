"""Open intents with their signed bytes, mirrored from the outbox; every move is written there first."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ogpu_provider.chain.outbox import Outbox
from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.facts import Block, Origin
from ogpu_provider.domain.intent import IntentRow, IntentState, SignedTx
from ogpu_provider.domain.together import together
from ogpu_provider.domain.units import Hash, Wei

_S = IntentState


def price(tx: SignedTx, base_fee: Wei | None) -> Wei:
    """Wei for each gas of a transaction in a block of this base fee, None on a chain without (EIP-1559)."""
    return tx.max_fee if base_fee is None or tx.tip_fee is None else min(tx.max_fee, base_fee + tx.tip_fee)


@dataclass(slots=True)
class Flight:
    """One open intent. `sent_block`: head when it was last signed; `retry_at` (monotonic) paces broadcasts.

    `suspect`: something was heard that its state does not explain, so the chain is to be asked. `refusals`: answers
    that said no since it was signed last. `passed`: head when the chain's nonce was first seen past its own although
    no transaction of it was in a block. `old`: planned so long ago that its effect may be there by another path;
    `asked_at` (monotonic): when the chain was last asked about that. `inherited`: signed by an earlier process.
    `told`: the block that a log of it was read in and what a gas of it costs there; nothing but a transaction that
    worked leaves a log.
    """

    row: IntentRow
    txs: list[SignedTx] = field(default_factory=list)
    sent_block: int = 0
    tries: int = 0
    retry_at: float | None = None
    suspect: bool = False
    refusals: int = 0
    passed: int | None = None
    old: bool = False
    inherited: bool = False
    asked_at: float = float("-inf")
    told: tuple[Hash, Wei] | None = None
    moving: asyncio.Lock = field(default_factory=asyncio.Lock, compare=False, repr=False)

    @property
    def voided(self) -> bool:
        """Whether its nonce is given up: only a void may be sent for it any more."""
        return bool(self.txs) and self.txs[-1].void

    @property
    def ceiling(self) -> Wei:
        """The most that it may still cost: one of its transactions will be in a block."""
        return max((tx.gas * tx.max_fee for tx in self.txs), default=0)

    @property
    def key(self) -> str:
        return self.row.intent.key


class Flights:
    """Every open intent of one key. The sender is the only one that moves them, each one move at a time."""

    def __init__(self, outbox: Outbox, clock: Clock) -> None:
        self._outbox = outbox
        self._clock = clock
        self._flights: dict[str, Flight] = {}
        self._keys: dict[Hash, str] = {}
        self._opening = asyncio.Lock()
        self._loaded = False
        self.next_nonce = 0
        self.observed = 0
        """Number of the newest block that the sender was told of."""
        self.ceiling: Wei = 0
        """The most that everything in flight may still cost."""

    def __iter__(self) -> Iterator[Flight]:
        return iter(list(self._flights.values()))

    async def load(self) -> None:
        """Read the outbox, once. What was in flight when the last process ended is suspect."""
        async with self._opening:
            if self._loaded:
                return
            for row in await self._outbox.open_intents():
                planned = row.state is _S.PLANNED
                flight = Flight(row, suspect=not planned, old=planned, inherited=not planned)
                self._flights[row.intent.key] = flight
                for tx in await self._outbox.signed(flight.key):
                    self._remember(flight, tx)
            highest = await self._outbox.highest_nonce()
            self.next_nonce = 0 if highest is None else highest + 1
            self._loaded = True

    async def planned(self) -> list[Flight]:
        """What waits for its signature, in the order in which it was planned."""
        rows = await self._outbox.planned_intents()
        return [self._flights.setdefault(row.intent.key, Flight(row)) for row in rows]

    async def signed(self, fresh: Sequence[tuple[Flight, SignedTx]], *, head: int) -> None:
        """Commit signed bytes, all or none; returns before anything may be sent."""
        await self._outbox.put_signed(*(tx for _, tx in fresh))
        self.took(fresh, head=head)

    def took(self, fresh: Sequence[tuple[Flight, SignedTx]], *, head: int) -> None:
        """Signed bytes were committed. The next nonce never goes back."""
        for flight, tx in fresh:
            self._flights[flight.key] = flight
            self.next_nonce = max(self.next_nonce, tx.nonce + 1)
            flight.row = replace(flight.row, state=_S.SIGNED, nonce=tx.nonce, tx_hash=tx.hash, updated_at=tx.signed_at)
            flight.sent_block, flight.refusals = head, 0
            self._remember(flight, tx)

    async def reread(self) -> None:
        """Take in what was committed and not heard of: it is suspect."""
        for row in await self._outbox.open_intents():
            if row.state is not _S.PLANNED and row.intent.key not in self._flights:
                flight = self._flights[row.intent.key] = Flight(row, suspect=True, sent_block=self.observed)
                for tx in await self._outbox.signed(flight.key):
                    self._remember(flight, tx)
        highest = await self._outbox.highest_nonce()
        self.next_nonce = max(self.next_nonce, 0 if highest is None else highest + 1)

    def highest_open_nonce(self) -> int:
        """-1 if nothing is signed."""
        return max((f.row.nonce for f in self._flights.values() if f.row.nonce is not None), default=-1)

    async def reopen(self, key: str, *, head: int) -> None:
        """The block that closed an intent was undone: it is open again, and suspect."""
        async with self._opening:
            if key in self._flights:
                return
            row = await self._outbox.set_state(key, _S.SENT, at=self._clock.now())
            flight = self._flights[key] = Flight(row, suspect=True, sent_block=head)
            for tx in await self._outbox.signed(key):
                self._remember(flight, tx)

    def carries(self, tx_hash: Hash) -> bool:
        """Whether it is one of an open intent; before the outbox was read, any may be."""
        return tx_hash in self._keys or not self._loaded

    async def sent(self, flight: Flight) -> None:
        async with flight.moving:
            if flight.row.state is _S.SIGNED:
                flight.row = await self._outbox.set_state(flight.key, _S.SENT, at=self._clock.now())

    async def mined(self, tx_hash: Hash, block_number: int, block_hash: Hash) -> None:
        """A transaction is in a block; nothing happens if it is not one of an open intent of ours."""
        flight = self._flights.get(self._keys.get(tx_hash, ""))
        if flight is None:
            return
        async with flight.moving:
            row = flight.row
            if not row.state.open:
                return
            if row.state is _S.MINED and (row.tx_hash, row.block_hash) == (tx_hash, block_hash):
                return
            flight.row = await self._outbox.set_state(
                flight.key,
                _S.MINED,
                at=self._clock.now(),
                tx_hash=tx_hash,
                block_number=block_number,
                block_hash=block_hash,
            )

    async def seen(self, origins: Iterable[Origin], base_fee: Wei | None) -> None:
        """Logs were read in a block of this base fee; those of our transactions say that these are in it."""
        ours = {origin.tx_hash: origin for origin in origins if origin.tx_hash in self._keys}
        for origin in ours.values():
            flight = self._flights[self._keys[origin.tx_hash]]
            tx = next(tx for tx in flight.txs if tx.hash == origin.tx_hash)
            flight.told = origin.block_hash, price(tx, base_fee)
        await together(self.mined(o.tx_hash, o.block_number, o.block_hash) for o in ours.values())

    async def undone(self, flight: Flight, *, head: int) -> None:
        """The block that had its transaction is no longer one of the chain."""
        async with flight.moving:
            if flight.row.state is _S.MINED:
                flight.row = await self._outbox.set_state(flight.key, _S.SENT, at=self._clock.now())
                flight.sent_block, flight.tries, flight.retry_at = head, 0, None

    async def close(self, flight: Flight, state: IntentState, **found: Any) -> IntentRow:
        """Move to a closed state; `found` are the receipt's columns."""
        async with flight.moving:
            flight.row = await self._outbox.set_state(flight.key, state, at=self._clock.now(), **found)
            if self._flights.pop(flight.key, None):
                self.ceiling -= flight.ceiling
            for tx in flight.txs:
                self._keys.pop(tx.hash, None)
            return flight.row

    def doubt(self, block: Block) -> None:
        """Suspect whatever is mined at `block`'s height in another block, or above it: blocks were undone."""
        for flight in self._flights.values():
            row = flight.row
            if row.state is _S.MINED and row.block_number is not None and row.block_number >= block.number:
                flight.suspect |= (row.block_number, row.block_hash) != (block.number, block.hash)

    def _remember(self, flight: Flight, tx: SignedTx) -> None:
        self.ceiling -= flight.ceiling
        flight.txs.append(tx)
        self.ceiling += flight.ceiling
        self._keys[tx.hash] = flight.key
