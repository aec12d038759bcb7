"""Where intents are signed: at which nonce, for which fee, with how much gas, within which caps.

The signed bytes are committed before anybody may send them. What is not signed now (the chain is too dear, the day's
budget is spent, no block was heard of yet) is asked for again later.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import structlog

from ogpu_provider.chain.fees import DAY, DayBudget, FeeCaps, Fees, GasBook, Suggestion, bump, quote
from ogpu_provider.chain.flights import Flight, Flights
from ogpu_provider.chain.outbox import Outbox
from ogpu_provider.chain.receipts import Receipt
from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.errors import KeyRefused
from ogpu_provider.domain.facts import Block
from ogpu_provider.domain.intent import Effect, Intent, IntentRow, SignedTx
from ogpu_provider.domain.killpoints import reach
from ogpu_provider.domain.units import Address, Wei

log = structlog.get_logger(__name__)

RECEIPT_AGE = 3600.0
"""Seconds for which what receipts said of an effect's gas holds for those whose receipt nobody asks for."""
REMEMBERED = 10_000
"""Closed transactions from which a start learns gas limits: it takes no longer, the older a journal is."""


class TxSigner(Protocol):
    """Raises KeyRefused for what its policy does not allow."""

    @property
    def address(self) -> Address: ...

    async def sign(
        self, intent: Intent, *, nonce: int, gas: int, max_fee: Wei, tip_fee: Wei | None, at: float
    ) -> SignedTx: ...


class HeadView(Protocol):
    """The newest block heard of."""

    @property
    def block(self) -> Block | None: ...


class Desk:
    """Each method returns signed bytes, or None where nothing may be signed now. Those of `dearer` and `void` are
    committed; those of `first`, once `keep` returns. Raises StoreError, `first` KeyRefused."""

    def __init__(
        self,
        flights: Flights,
        signer: TxSigner,
        clock: Clock,
        head: HeadView,
        caps: FeeCaps,
        gas: GasBook,
        budget: DayBudget,
    ) -> None:
        self._flights = flights
        self._signer = signer
        self._clock = clock
        self._head = head
        self._caps = caps
        self._gas = gas
        self._budget = budget
        self._spent = False
        self._read: dict[Effect, float] = {}
        self.suggestion: Suggestion | None = None
        """What the node would pay; None until it was asked."""

    @property
    def address(self) -> Address:
        return self._signer.address

    @property
    def height(self) -> int:
        """Number of the newest block heard of, by whichever part."""
        block = self._head.block
        return max(block.number if block else 0, self._flights.observed)

    async def remember(self, outbox: Outbox) -> None:
        """What the journal knows of gas used and of the day's costs, so that a restart changes neither."""
        for alike in await outbox.gas_used(REMEMBERED):
            self._gas.learn(
                alike.effect, used=alike.most, limit=alike.limit, succeeded=alike.succeeded, times=alike.times
            )
        for at, amount in await outbox.paid_since(self._clock.now() - DAY):
            self._budget.paid(at, amount)

    async def first(self, flight: Flight, before: Sequence[tuple[Flight, SignedTx]] = ()) -> SignedTx | None:
        """At the next free nonce; a filler at the nonce that it fills. `before`: what was signed and not kept yet."""
        intent = flight.row.intent
        free = max((tx.nonce + 1 for _, tx in before), default=0)
        nonce = gap_of(intent) if intent.effect is Effect.FILL else max(self._flights.next_nonce, free)
        fees = self._quoted(flight)
        beside = sum(tx.gas * tx.max_fee for _, tx in before)
        return await self._sign(flight, intent, nonce, fees, beside) if fees else None

    async def keep(self, fresh: Sequence[tuple[Flight, SignedTx]]) -> None:
        """Commit what was signed, all or none."""
        await self._flights.signed(fresh, head=self.height)

    async def dearer(self, flight: Flight) -> SignedTx | None:
        """In place of its last transaction, for a price that a pool takes instead. A void stays one."""
        if flight.voided:
            return await self.void(flight)
        return await self._replace(flight, flight.row.intent)

    async def void(self, flight: Flight, *, unknown: bool = False) -> SignedTx | None:
        """Nothing, at the nonce of an intent that must not be sent any more. `unknown`: no node has its last bytes, so
        that today's price will do where a dearer offer is above the caps."""
        nothing = replace(
            flight.row.intent, effect=Effect.FILL, subject=self.address, to=self.address, data=b"", value=0
        )
        return await self._replace(flight, nothing, unknown=unknown)

    def account_for(self, flight: Flight, receipt: Receipt) -> None:
        """Take in what a transaction of `flight` used and cost."""
        tx = next(tx for tx in flight.txs if tx.hash == receipt.tx_hash)
        if not tx.void:
            effect = flight.row.intent.effect
            self._gas.learn(effect, used=receipt.gas_used, limit=tx.gas, succeeded=receipt.succeeded)
            self._read[effect] = self._clock.monotonic()
        cost = receipt.gas_used * tx.max_fee if receipt.fee_paid is None else receipt.fee_paid
        self._budget.paid(self._clock.now(), cost)

    def known_cost(self, flight: Flight) -> tuple[int, Wei] | None:
        """Gas and wei that a transaction has cost at most which its log tells of; None where only a receipt says it."""
        effect, row = flight.row.intent.effect, flight.row
        gas, told = self._gas.most(effect), flight.told
        recent = self._clock.monotonic() - self._read.get(effect, float("-inf")) < RECEIPT_AGE
        return (gas, gas * told[1]) if gas and told and told[0] == row.block_hash and recent else None

    def pay(self, cost: Wei) -> None:
        """Take in what one has cost that no receipt was asked for."""
        self._budget.paid(self._clock.now(), cost)

    def late(self, row: IntentRow) -> bool:
        """Whether its deadline has passed, by wall time or by chain time."""
        deadline, block = row.intent.deadline, self._head.block
        now = max(self._clock.now(), float(block.timestamp) if block else 0.0)
        return deadline is not None and now > deadline

    def too_low(self, tx: SignedTx) -> bool:
        """Whether no block takes `tx` at the head's base fee."""
        block = self._head.block
        return block is not None and block.base_fee is not None and tx.max_fee < block.base_fee

    async def _replace(self, flight: Flight, intent: Intent, *, unknown: bool = False) -> SignedTx | None:
        last = flight.txs[-1]
        current = self._quoted(flight)
        fees = bump(Fees(last.max_fee, last.tip_fee), current, self._caps) if current else None
        if unknown:
            fees = fees or current
        if current and fees is None:
            log.error("tx.at_the_cap", intent=flight.key, nonce=last.nonce, fee=last.max_fee, cap=self._caps.absolute)
        try:
            tx = await self._sign(flight, intent, last.nonce, fees) if fees else None
        except KeyRefused as error:  # its nonce is taken: it waits as it is, and what is behind it goes on
            log.error("tx.not_replaced", intent=flight.key, nonce=last.nonce, error=str(error))
            return None
        if tx is not None:
            await self.keep([(flight, tx)])
        return tx

    def _quoted(self, flight: Flight) -> Fees | None:
        block = self._head.block
        if block is None or self.suggestion is None:
            return None
        fees = quote(block.base_fee, self.suggestion, self._caps)
        if fees is None:
            log.warning("tx.too_dear", intent=flight.key, base_fee=block.base_fee, cap=self._caps.absolute)
        return fees

    async def _sign(self, flight: Flight, intent: Intent, nonce: int, fees: Fees, beside: Wei = 0) -> SignedTx | None:
        """`beside`: the most that other transactions may cost which are not counted yet."""
        gas = self._gas.limit(intent.effect)
        more = max(gas * fees.max_fee - flight.ceiling, 0) + beside
        told, self._spent = self._spent, not self._budget.allows(self._clock.now(), self._flights.ceiling + more)
        if self._spent:
            if not told:
                log.error("tx.budget_spent", intent=flight.key, hint="see fees.day_budget; it goes on as the day does")
            return None
        tx = await self._signer.sign(
            intent, nonce=nonce, gas=gas, max_fee=fees.max_fee, tip_fee=fees.tip_fee, at=self._clock.now()
        )
        reach(f"{flight.row.intent.effect}.unsigned")
        return replace(tx, void=intent is not flight.row.intent)


def filler(nonce: int, address: Address, like: str) -> Intent:
    """An intent that fills a gap; `like` is a key of the same chain."""
    return Intent(f"{like.partition(':')[0]}:{Effect.FILL}:{nonce}", Effect.FILL, address, address, b"")


def gap_of(intent: Intent) -> int:
    """The nonce that a filler is for; its key says it."""
    return int(intent.key.rpartition(":")[2])
