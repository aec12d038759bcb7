"""What is done about transactions after their first broadcast, beside the way of the next ones.

Compared with the chain, in at most a few round trips:

    in a block                        mined; at depth the intent is closed
    its block was undone              sent again, or void
    no node knows it                  the same bytes again, dearer where no block would take them; void where it is
                                      late or its effect is there already
    in the pools for too long         dearer; void where it is late
"""

from collections.abc import Awaitable, Callable

import structlog

from ogpu_provider.chain.contracts import Malformed
from ogpu_provider.chain.courier import Courier
from ogpu_provider.chain.desk import Desk
from ogpu_provider.chain.flights import Flight, Flights
from ogpu_provider.chain.receipts import Node, Receipt, read_balance, read_known, read_receipts
from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.errors import RpcRejected
from ogpu_provider.domain.intent import Effect, Intent, IntentState, SignedTx
from ogpu_provider.domain.together import together
from ogpu_provider.domain.units import Hash, Wei

log = structlog.get_logger(__name__)

STUCK_BLOCKS = 3
STUCK_S = 12.0
"""A transaction that lay in the pools for so many blocks and seconds is signed again, dearer."""
WAIT_BLOCKS = 2
"""After so many blocks without it, nonce and price are asked about."""
REFUSALS = 4
"""So many refusals of the same bytes make a dearer offer, where the account can pay for it."""

_S = IntentState

Present = Callable[[Intent], Awaitable[bool]]


class Upkeep:
    """`present` says whether an intent's effect is on chain, by whatever way."""

    def __init__(
        self,
        rpc: Node,
        flights: Flights,
        desk: Desk,
        courier: Courier,
        clock: Clock,
        present: Present,
        confirmations: int,
    ) -> None:
        self._rpc = rpc
        self._flights = flights
        self._desk = desk
        self._courier = courier
        self._clock = clock
        self._present = present
        self._confirmations = confirmations

    # What is looked at.

    def due(self) -> list[Flight]:
        """Flights that there is something to ask the chain about."""
        return [flight for flight in self._flights if self._is_due(flight)]

    def stuck(self, flight: Flight) -> bool:
        """Whether it was sent long ago, in blocks and in seconds, and is in none."""
        return (
            flight.row.state in (_S.SENT, _S.SIGNED)
            and bool(flight.txs)
            and self._flights.observed - flight.sent_block >= STUCK_BLOCKS
            and self._clock.now() - flight.txs[-1].signed_at >= STUCK_S
        )

    def waits(self, flight: Flight) -> bool:
        """Whether it could have been in a block by now."""
        return (
            flight.row.state in (_S.SENT, _S.SIGNED)
            and bool(flight.txs)
            and (
                self._flights.observed - flight.sent_block >= WAIT_BLOCKS
                or self._clock.now() - flight.txs[-1].signed_at >= STUCK_S
            )
        )

    def may_retry(self, flight: Flight) -> bool:
        return flight.retry_at is None or self._clock.monotonic() >= flight.retry_at

    def _is_due(self, flight: Flight) -> bool:
        """A doubt, a depth reached, a block too many, a retry."""
        state = flight.row.state
        if state is _S.MINED:
            return flight.suspect or self._lies_deep(flight)
        if state is _S.SENT:
            return flight.suspect or self._flights.observed > flight.sent_block + 1
        return state is _S.SIGNED and (flight.suspect or self.may_retry(flight))

    # What is done.

    async def inspect(self, due: list[Flight]) -> None:
        """Compare with the chain, and act. Raises RpcUnavailable, KeyRefused, StoreError."""
        due = await self._told(due)
        if not due:
            return
        seen_in = {
            tx.hash: flight.row.block_number
            for flight in due
            for tx in flight.txs
            if flight.row.block_number is not None
        }
        found = await read_receipts(self._rpc, [tx.hash for flight in due for tx in flight.txs], seen_in)
        pending: list[Flight] = []
        there: list[tuple[Flight, Receipt]] = []
        for flight in due:
            flight.suspect = False
            receipt = next((r for tx in flight.txs if (r := found.get(tx.hash))), None)
            if receipt is not None:
                there.append((flight, receipt))
            elif all(tx.hash in found for tx in flight.txs):
                pending.append(flight)
        await together(self._apply(flight, receipt) for flight, receipt in there)
        if not pending:
            return
        known = await read_known(self._rpc, [tx.hash for flight in pending for tx in flight.txs])
        for flight in pending:
            if flight.row.state is _S.MINED:
                log.warning("tx.block_undone", intent=flight.key, block=flight.row.block_number)
                await self._flights.undone(flight, head=self._flights.observed)
            if any(known.get(tx.hash) for tx in flight.txs):
                await self._in_a_pool(flight)
            elif self.may_retry(flight):
                await self._in_no_pool(flight)

    async def _told(self, due: list[Flight]) -> list[Flight]:
        """Closes attempts on the word of their logs, where nothing else in their block is to be asked about: a receipt
        would add nothing but the last gas that it used. Returns the others."""
        alone: dict[Hash | None, dict[str, tuple[int, Wei] | None]] = {}
        for flight in due:
            sure = flight.row.intent.effect is Effect.ATTEMPT and not flight.suspect and self._lies_deep(flight)
            alone.setdefault(flight.row.block_hash, {})[flight.key] = self._desk.known_cost(flight) if sure else None
        costs = {key: cost for block in alone.values() if None not in block.values() for key, cost in block.items()}
        await together(self._close_told(flight, cost) for flight in due if (cost := costs.get(flight.key)))
        return [flight for flight in due if flight.key not in costs]

    async def _close_told(self, flight: Flight, cost: tuple[int, Wei]) -> None:
        gas, fee = cost
        self._desk.pay(fee)
        await self._courier.close(flight, _S.CONFIRMED, why="told by its log", gas_used=gas, fee_paid=fee)

    def _lies_deep(self, flight: Flight) -> bool:
        return flight.row.state is _S.MINED and self._deep(flight.row.block_number or 0)

    async def _in_a_pool(self, flight: Flight) -> None:
        await self._flights.sent(flight)
        if not self.stuck(flight) or not self.may_retry(flight):
            return
        lowest = min(f.row.nonce for f in self._flights if f.row.nonce is not None and f.row.state is not _S.MINED)
        if flight.row.nonce != lowest and not self._desk.too_low(flight.txs[-1]):
            return  # it waits for the one in front of it
        late = self._desk.late(flight.row)
        log.warning("tx.stuck", intent=flight.key, nonce=flight.row.nonce, fee=flight.txs[-1].max_fee, late=late)
        await self._again(flight, await (self._desk.void(flight) if late else self._desk.dearer(flight)))

    async def _in_no_pool(self, flight: Flight) -> None:
        if not flight.voided and (self._desk.late(flight.row) or await self.is_present(flight.row.intent)):
            log.warning("tx.not_sent_any_more", intent=flight.key, nonce=flight.row.nonce)
            await self._again(flight, await self._desk.void(flight, unknown=True))
        elif self._desk.too_low(flight.txs[-1]) or await self._wants_more(flight):
            await self._again(flight, await self._desk.dearer(flight))
        else:
            self._courier.send(flight, flight.txs[-1])

    async def _again(self, flight: Flight, tx: SignedTx | None) -> None:
        """Send what replaces the last bytes; without it a void or dearer offer is tried for after a pause."""
        if tx is None:
            flight.retry_at = self._clock.monotonic() + STUCK_S
            return
        self._courier.send(flight, tx)

    async def _wants_more(self, flight: Flight) -> bool:
        """Whether nodes keep refusing the bytes, though the account can pay for them."""
        return flight.refusals >= REFUSALS and await self._can_pay(flight)

    async def _can_pay(self, flight: Flight) -> bool:
        """Whether it is not for want of coin that nodes refuse a transaction."""
        balance = await read_balance(self._rpc, self._desk.address)
        if balance >= flight.ceiling:
            return True
        log.error("tx.no_coin", intent=flight.key, balance=balance, needed=flight.ceiling)
        return False

    async def _apply(self, flight: Flight, receipt: Receipt) -> None:
        """A transaction that failed is no more final than one that worked: both wait for their depth."""
        flight.passed = None
        if not self._deep(receipt.block_number):
            await self._flights.mined(receipt.tx_hash, receipt.block_number, receipt.block_hash)
            return
        self._desk.account_for(flight, receipt)
        void = next(tx.void for tx in flight.txs if tx.hash == receipt.tx_hash)
        outcome = _S.ABANDONED if void else _S.CONFIRMED if receipt.succeeded else _S.REVERTED
        await self._courier.close(
            flight,
            outcome,
            why="its nonce was given up" if void else "",
            tx_hash=receipt.tx_hash,
            block_number=receipt.block_number,
            block_hash=receipt.block_hash,
            gas_used=receipt.gas_used,
            fee_paid=receipt.fee_paid,
        )

    async def is_present(self, intent: Intent) -> bool:
        """Whether its effect is there. What the contract does not say is taken as no."""
        try:
            return await self._present(intent)
        except (RpcRejected, Malformed):  # no contract at all: its block was undone
            return False

    def _deep(self, block_number: int) -> bool:
        return self._flights.observed - block_number >= self._confirmations
