"""Carries intents to the chain: each once, whatever is lost on the way.

The way of an intent to the first broadcast is short: nonce, signature, one commit, one request. Nothing is estimated
or asked for on it; the base fee comes from the head, the tip from a cache, the gas limit from what was learnt. The
signed bytes are committed before they are sent, and only stored bytes are ever sent. Everything else happens beside
that way, in one upkeep at a time (`upkeep`, `nonces`).
"""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager

import structlog

from ogpu_provider.chain.account import Account, AccountReader, Peers
from ogpu_provider.chain.courier import PAUSE, Courier, OnOutcome
from ogpu_provider.chain.desk import Desk, HeadView, TxSigner
from ogpu_provider.chain.express import Express
from ogpu_provider.chain.fees import DayBudget, FeeCaps, GasBook
from ogpu_provider.chain.flights import Flight, Flights
from ogpu_provider.chain.nonces import Nonces
from ogpu_provider.chain.outbox import Outbox
from ogpu_provider.chain.upkeep import Present, Upkeep
from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.errors import KeyRefused, ProviderError, Retry, RpcUnavailable
from ogpu_provider.domain.facts import Attempted, Block, Fact, Registered
from ogpu_provider.domain.intent import Effect, Intent, IntentState, SignedTx
from ogpu_provider.domain.units import Address, Hash

log = structlog.get_logger(__name__)

TICK = 5.0
"""Seconds after which the sender looks around even if nothing was heard."""
ACCOUNT_AGE = 60.0
ACCOUNT_AGE_STUCK = 4.0
ACCOUNT_AGE_IDLE = 900.0
"""Seconds for which the node's nonce and fee suggestion hold: where something is to be asked about, while something is
stuck or may be undone though it was closed, and otherwise. Transactions that get into blocks as they should tell the
nonce, headers the base fee; a tip that has become too low shows as a wait, a nonce used elsewhere as a refusal or a
wait."""
TOGETHER = 16
"""So many transactions are signed for one commit: they reach the nodes sooner than alone, the first hardly later."""
OLD = 10.0
"""Seconds after which a planned intent is asked about before it is signed."""

_S = IntentState


async def absent(intent: Intent) -> bool:
    """Says of every effect that it is not on chain yet."""
    return False


class Sender:
    """One provider key's transactions. `wake` and `observe` are for others, `run` is the service.

    `on_outcome` gets every intent that became CONFIRMED, REVERTED or ABANDONED in this process; where it raises an
    error that may pass, it is called again. `confirmations`: blocks on top of its own before a transaction is done.
    `present` is asked, off the hot path, whether an effect is on chain already.
    """

    def __init__(
        self,
        rpc: Peers,
        outbox: Outbox,
        signer: TxSigner,
        clock: Clock,
        head: HeadView,
        on_outcome: OnOutcome,
        *,
        confirmations: int = 3,
        caps: FeeCaps | None = None,
        gas: GasBook | None = None,
        budget: DayBudget | None = None,
        present: Present = absent,
    ) -> None:
        self._outbox = outbox
        self._clock = clock
        self._flights = Flights(outbox, clock)
        caps = caps or FeeCaps()
        self._desk = Desk(self._flights, signer, clock, head, caps, gas or GasBook(), budget or DayBudget())
        self._accounts = AccountReader(rpc, self._desk.address, caps, lambda: head.block)
        self._courier = Courier(rpc, self._flights, clock, on_outcome)
        self._upkeep = Upkeep(rpc, self._flights, self._desk, self._courier, clock, present, confirmations)
        self._nonces = Nonces(rpc, outbox, self._flights, self._desk, self._courier, clock, confirmations)
        self._express = Express(self._flights, self._desk, self._courier, clock)
        self._account_read = float("-inf")
        self._stirred = False
        self._rest_until = float("-inf")
        self._working: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """Say that the journal holds a new intent. Returns at once."""
        self._express.close()
        self._courier.woken.set()

    def signing(self, intents: Sequence[Intent]) -> AbstractAsyncContextManager[Sequence[SignedTx]]:
        """The short way, see `express`."""
        return self._express.signing(intents)

    async def observe(self, block: Block, facts: Iterable[Fact]) -> None:
        """Take in a block and its facts. A fact from a transaction of ours means that it is in that block.

        Writes to the journal, never asks the node; may be called before `run`. Raises StoreError.
        """
        await self._flights.load()
        found = list(facts)
        self._stirred |= (block.base_fee is None and bool(found)) or block.number <= self._flights.observed
        if self._nonces.heard(block):
            self._account_read = float("-inf")
        self._flights.observed = block.number
        await self._flights.seen((fact.origin for fact in found), block.base_fee)
        self._note(found)
        self._flights.doubt(block)
        self._courier.woken.set()

    def carries(self, tx_hash: Hash) -> bool:
        """Whether a transaction may be one of ours in flight: what it logged is then to be observed."""
        return self._flights.carries(tx_hash)

    async def run(self) -> None:
        """Send and watch until cancelled. Raises what cannot pass: WrongNetwork, ForeignNonce, or a StoreError that
        stays."""
        await self._flights.load()
        await self._desk.remember(self._outbox)
        await self._courier.patiently(self._first_account, "tx.node_unavailable")
        async with asyncio.TaskGroup() as group:
            self._courier.group = group
            while True:
                self._courier.woken.clear()
                async with self._express.turn():
                    await self._send_planned()
                if (self._working is None or self._working.done()) and self._clock.monotonic() >= self._rest_until:
                    self._working = group.create_task(self._keep_up(), name="sender upkeep")
                await self._wait(group)

    # The way to the first broadcast.

    async def _send_planned(self) -> None:
        """In the order of planning, several in one commit. What cannot be signed now holds back the later effects on
        its subject, and what cannot be kept all that is behind it: a response has no nonce before its attempt."""
        held: set[Address] = set()
        fresh: list[tuple[Flight, SignedTx]] = []
        for flight in await self._flights.planned():
            if flight.row.intent.subject in held:
                continue
            if tx := await self._sign(flight, fresh):
                fresh.append((flight, tx))
            elif flight.row.state is _S.PLANNED:
                held.add(flight.row.intent.subject)
            if len(fresh) == TOGETHER:
                if not await self._send(fresh):
                    return
                fresh = []
        if fresh:
            await self._send(fresh)

    async def _sign(self, flight: Flight, before: Sequence[tuple[Flight, SignedTx]]) -> SignedTx | None:
        """The first bytes of an intent; None if it is closed, or not to be signed now."""
        try:
            if self._desk.late(flight.row):
                await self._courier.close(flight, _S.ABANDONED, why="deadline")
            elif flight.old and await self._is_done(flight):
                await self._courier.close(flight, _S.CONFIRMED, why="done by another path")
            elif tx := await self._desk.first(flight, before):
                return tx
            else:
                flight.old |= self._clock.now() - flight.row.planned_at > OLD
        except KeyRefused as error:
            await self._courier.close(flight, _S.ABANDONED, why=str(error))
        except ProviderError as error:
            if error.retry is Retry.NEVER:
                raise
            log.warning("tx.not_signed", intent=flight.key, code=error.code, error=str(error))
        return None

    async def _send(self, fresh: Sequence[tuple[Flight, SignedTx]]) -> bool:
        """False if they could not be kept, so that none of them was sent."""
        try:
            await self._desk.keep(fresh)
        except ProviderError as error:
            if error.retry is Retry.NEVER:
                raise
            log.warning("tx.not_kept", intents=[flight.key for flight, _ in fresh], code=error.code, error=str(error))
            return False
        for flight, tx in fresh:
            self._courier.send(flight, tx)
        return True

    async def _is_done(self, flight: Flight) -> bool:
        if self._clock.monotonic() - flight.asked_at < OLD:
            return False
        there = await self._upkeep.is_present(flight.row.intent)
        flight.asked_at = self._clock.monotonic()
        return there

    def _note(self, found: Sequence[Fact]) -> None:
        """Effects that the master or an agent had for us, while ours were still to be signed."""
        there: set[tuple[Effect, Address]] = set()
        for fact in found:
            match fact:
                case Attempted(task=subject, provider=provider) if provider == self._desk.address:
                    there.add((Effect.ATTEMPT, subject))
                case Registered(source=subject, provider=provider) if provider == self._desk.address:
                    there.add((Effect.REGISTER, subject))
        for flight in self._flights if there else ():
            intent = flight.row.intent
            if flight.row.state is _S.PLANNED and (intent.effect, intent.subject) in there:
                flight.old, flight.asked_at = True, float("-inf")

    # Beside it.

    async def _keep_up(self) -> None:
        try:
            if self._courier.refused or self._account_is_old():
                self._courier.refused = False
                account = await self._read_account()
                await self._nonces.compare(account)
                self._stirred = self._nonces.gaps
            if due := self._upkeep.due():
                await self._upkeep.inspect(due)
        except RpcUnavailable as error:
            self._rest_until = self._clock.monotonic() + PAUSE
            log.warning("tx.watch_unavailable", error=str(error))
        except ProviderError as error:
            if error.retry is Retry.NEVER:
                raise
            self._rest_until = self._clock.monotonic() + PAUSE
            log.warning("tx.upkeep_failed", code=error.code, error=str(error))

    def _account_is_old(self) -> bool:
        flights = list(self._flights)
        if self._nonces.unsure or any(self._upkeep.stuck(flight) for flight in flights):
            age = ACCOUNT_AGE_STUCK
        else:
            age = ACCOUNT_AGE if self._stirred or any(map(self._upkeep.waits, flights)) else ACCOUNT_AGE_IDLE
        return self._clock.monotonic() - self._account_read >= age

    async def _first_account(self) -> None:
        """Before anything is signed, the chain's nonce may raise ours: the key was used before this journal."""
        account = await self._read_account()
        if account.contested:
            raise RpcUnavailable("the RPC endpoints do not agree how many transactions this key has made")
        self._nonces.begin(account)
        if 0 < self._flights.next_nonce < account.nonce:
            log.warning("tx.key_used_elsewhere", chain=account.nonce, ours=self._flights.next_nonce)
        self._flights.next_nonce = max(self._flights.next_nonce, account.nonce)

    async def _read_account(self) -> Account:
        account = await self._accounts.read(self._flights.next_nonce)
        self._desk.suggestion = account.suggestion
        self._stirred = account.nonce < self._flights.next_nonce
        self._account_read = self._clock.monotonic()
        return account

    # Pace.

    async def _wait(self, group: asyncio.TaskGroup) -> None:
        """Until woken, or until the next thing is due without it."""

        async def ring(seconds: float) -> None:
            await self._clock.sleep(seconds)
            self._courier.woken.set()

        alarm = group.create_task(ring(self._pause()), name="sender alarm")
        try:
            await self._courier.woken.wait()
        finally:
            alarm.cancel()

    def _pause(self) -> float:
        retries = [f.retry_at for f in self._flights if f.retry_at is not None and f.row.state is _S.SIGNED]
        due = max(min(retries, default=float("inf")), self._rest_until)
        return min(TICK, max(due - self._clock.monotonic(), 0.1))
