"""Carries intents to the chain: each once, whatever is lost on the way.

The way of an intent to the first broadcast is short: nonce, signature, one commit, one request. Nothing is estimated
or asked for on it; the base fee comes from the head, the tip from a cache. The signed bytes are committed before they
are sent, and only those bytes are ever sent again. No decision rests on what a node says about a send: after an
error the chain is asked what it knows.

Everything else happens beside that way, in one upkeep at a time: receipts of transactions whose block shows no log
of them, confirmation at depth, blocks that were undone, another broadcast of what the nodes have lost.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol

import structlog

from ogpu_provider.chain.fees import FeeCaps, GasBook, Suggestion, quote
from ogpu_provider.chain.flights import Flight, Flights
from ogpu_provider.chain.outbox import Outbox
from ogpu_provider.chain.receipts import Node, Receipt, read_account, read_known, read_receipts
from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.errors import KeyRefused, ProviderError, Retry, RpcRejected, RpcUnavailable
from ogpu_provider.domain.facts import Block, Fact
from ogpu_provider.domain.intent import Intent, IntentRow, IntentState, SignedTx
from ogpu_provider.domain.killpoints import reach
from ogpu_provider.domain.units import Address, Hash, Wei

log = structlog.get_logger(__name__)

TICK = 5.0
"""Seconds after which the sender looks around even if nothing was heard."""
ACCOUNT_AGE = 60.0
"""Seconds for which the node's fee suggestion holds."""
PAUSE = 1.0
PAUSE_MAX = 30.0
"""Seconds between tries: after the first, and at most."""

_S = IntentState

OnOutcome = Callable[[IntentRow], Awaitable[None]]


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


class Sender:
    """One provider key's transactions. `wake` and `observe` are for others, `run` is the service.

    `on_outcome` gets every intent that became CONFIRMED, REVERTED or ABANDONED in this process; where it raises an
    error that may pass, it is called again. `confirmations`: blocks on top of its own before a transaction is done.
    """

    def __init__(
        self,
        rpc: Node,
        outbox: Outbox,
        signer: TxSigner,
        clock: Clock,
        head: HeadView,
        on_outcome: OnOutcome,
        *,
        confirmations: int = 3,
        caps: FeeCaps | None = None,
        gas: GasBook | None = None,
    ) -> None:
        self._rpc = rpc
        self._flights = Flights(outbox, clock)
        self._signer = signer
        self._clock = clock
        self._head = head
        self._on_outcome = on_outcome
        self._confirmations = confirmations
        self._caps = caps or FeeCaps()
        self._gas = gas or GasBook()
        self._observed = 0
        self._suggestion: Suggestion | None = None
        self._account_read = float("-inf")
        self._rest_until = float("-inf")
        self._woken = asyncio.Event()
        self._upkeep: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """Say that the journal holds a new intent. Returns at once."""
        self._woken.set()

    async def observe(self, block: Block, facts: Iterable[Fact]) -> None:
        """Take in a block and its facts. A fact from a transaction of ours means that it is in that block.

        Writes to the journal, never asks the node; may be called before `run`. Raises StoreError.
        """
        await self._flights.load()
        self._observed = block.number
        for fact in facts:
            await self._flights.seen(fact.origin)
        self._flights.doubt(block)
        self._woken.set()

    async def run(self) -> None:
        """Send and watch until cancelled. Raises what cannot pass: WrongNetwork, or a StoreError that stays."""
        await self._flights.load()
        await self._patiently(self._read_account, "tx.node_unavailable")
        async with asyncio.TaskGroup() as group:
            while True:
                self._woken.clear()
                await self._send_planned(group)
                if (self._upkeep is None or self._upkeep.done()) and self._clock.monotonic() >= self._rest_until:
                    self._upkeep = group.create_task(self._keep_up(group), name="sender upkeep")
                await self._wait(group)

    # The way to the first broadcast.

    async def _send_planned(self, group: asyncio.TaskGroup) -> None:
        for flight in await self._flights.planned():
            try:
                if self._late(flight.row):
                    await self._close(group, flight, _S.ABANDONED, why="deadline")
                elif tx := await self._sign(flight):
                    group.create_task(self._broadcast(flight, tx), name=f"send {flight.key}")
            except KeyRefused as error:
                await self._close(group, flight, _S.ABANDONED, why=str(error))
            except ProviderError as error:
                if error.retry is Retry.NEVER:
                    raise
                log.warning("tx.not_signed", intent=flight.key, code=error.code, error=str(error))

    async def _sign(self, flight: Flight) -> SignedTx | None:
        """Sign and commit, or None while the chain's price is over the cap or not known."""
        block, intent = self._head.block, flight.row.intent
        if block is None or self._suggestion is None:
            return None
        fees = quote(block.base_fee, self._suggestion, self._caps)
        if fees is None:
            log.warning("tx.too_dear", intent=intent.key, base_fee=block.base_fee, cap=self._caps.absolute)
            return None
        tx = await self._signer.sign(
            intent,
            nonce=self._flights.next_nonce,
            gas=self._gas.limit(intent.effect),
            max_fee=fees.max_fee,
            tip_fee=fees.tip_fee,
            at=self._clock.now(),
        )
        await self._flights.signed(flight, tx, head=max(block.number, self._observed))
        return tx

    async def _broadcast(self, flight: Flight, tx: SignedTx) -> None:
        """Send signed bytes once. After an error the outcome is unknown and the chain is asked."""
        flight.retry_at = self._clock.monotonic() + min(PAUSE * 2**flight.tries, PAUSE_MAX)
        flight.tries = min(flight.tries + 1, 10)
        effect = flight.row.intent.effect
        reach(f"{effect}.signed")
        try:
            await self._rpc.call("eth_sendRawTransaction", "0x" + tx.raw.hex())
            reach(f"{effect}.sent")
        except RpcUnavailable as error:
            log.warning("tx.send_unknown", intent=flight.key, tx=tx.hash, error=str(error))
            self._woken.set()  # for the pause until the next try
            return
        except RpcRejected as error:
            self._account_read = float("-inf")  # perhaps the nonce has moved: look
            if not await self._knows(tx.hash):
                log.warning("tx.send_refused", intent=flight.key, tx=tx.hash, nonce=tx.nonce, error=str(error))
                self._woken.set()
                return
        log.info("tx.sent", intent=flight.key, tx=tx.hash, nonce=tx.nonce)
        await self._flights.sent(flight)

    async def _knows(self, tx_hash: Hash) -> bool:
        try:
            return (await read_known(self._rpc, [tx_hash])).get(tx_hash, False)
        except RpcUnavailable:
            return False

    # Beside it.

    async def _keep_up(self, group: asyncio.TaskGroup) -> None:
        try:
            if self._clock.monotonic() - self._account_read >= ACCOUNT_AGE:
                await self._read_account()
            due = [flight for flight in self._flights if self._is_due(flight)]
            if due:
                await self._inspect(group, due)
        except RpcUnavailable as error:
            self._rest_until = self._clock.monotonic() + PAUSE
            log.warning("tx.watch_unavailable", error=str(error))

    def _is_due(self, flight: Flight) -> bool:
        """Whether there is something to ask the chain about: a doubt, a depth reached, a block too many, a retry."""
        state = flight.row.state
        if state is _S.MINED:
            return flight.suspect or self._deep(flight.row.block_number or 0)
        if state is _S.SENT:
            return flight.suspect or self._observed > flight.sent_block + 1
        return state is _S.SIGNED and (flight.suspect or self._may_retry(flight))

    async def _inspect(self, group: asyncio.TaskGroup, due: list[Flight]) -> None:
        """Compare intents with the chain, in at most two round trips, and send again what no node knows."""
        seen_in = {
            tx.hash: flight.row.block_number
            for flight in due
            for tx in flight.txs
            if flight.row.block_number is not None
        }
        found = await read_receipts(self._rpc, [tx.hash for flight in due for tx in flight.txs], seen_in)
        lost: list[Flight] = []
        for flight in due:
            flight.suspect = False
            receipt = next((r for tx in flight.txs if (r := found.get(tx.hash))), None)
            if receipt is not None:
                await self._apply(group, flight, receipt)
            elif all(tx.hash in found for tx in flight.txs):
                lost.append(flight)
        if not lost:
            return
        known = await read_known(self._rpc, [tx.hash for flight in lost for tx in flight.txs])
        for flight in lost:
            if flight.row.state is _S.MINED:
                log.warning("tx.block_undone", intent=flight.key, block=flight.row.block_number)
                await self._flights.undone(flight, head=self._observed)
            if any(known.get(tx.hash) for tx in flight.txs):
                await self._flights.sent(flight)
            elif self._may_retry(flight):
                group.create_task(self._broadcast(flight, flight.txs[-1]), name=f"send {flight.key}")

    async def _apply(self, group: asyncio.TaskGroup, flight: Flight, receipt: Receipt) -> None:
        """A transaction that failed is no more final than one that worked: both wait for their depth."""
        if not self._deep(receipt.block_number):
            await self._flights.mined(receipt.tx_hash, receipt.block_number, receipt.block_hash)
            return
        limit = next(tx.gas for tx in flight.txs if tx.hash == receipt.tx_hash)
        effect = flight.row.intent.effect
        self._gas.learn(effect, used=receipt.gas_used, limit=limit, succeeded=receipt.succeeded)
        await self._close(
            group,
            flight,
            _S.CONFIRMED if receipt.succeeded else _S.REVERTED,
            tx_hash=receipt.tx_hash,
            block_number=receipt.block_number,
            block_hash=receipt.block_hash,
            gas_used=receipt.gas_used,
            fee_paid=receipt.fee_paid,
        )

    async def _close(
        self, group: asyncio.TaskGroup, flight: Flight, state: IntentState, *, why: str = "", **found: Any
    ) -> None:
        row = await self._flights.close(flight, state, **found)
        log.info(f"tx.{state}", intent=flight.key, tx=row.tx_hash, nonce=row.nonce, why=why)
        group.create_task(self._tell(row), name=f"outcome {flight.key}")

    async def _tell(self, row: IntentRow) -> None:
        try:
            await self._patiently(lambda: self._on_outcome(row), "tx.outcome_not_taken")
        except ProviderError as error:  # the path compares its tasks with the chain at every start
            log.error("tx.outcome_refused", intent=row.intent.key, code=error.code, error=str(error))

    async def _read_account(self) -> None:
        """The chain's nonce only ever raises ours: what is signed keeps its place."""
        account = await read_account(self._rpc, self._signer.address)
        ours = self._flights.next_nonce
        if account.nonce > ours and self._suggestion is not None:
            log.error("tx.foreign_nonce", chain=account.nonce, ours=ours, hint="another host uses this key")
        self._flights.next_nonce = max(ours, account.nonce)
        self._suggestion = account.suggestion
        self._account_read = self._clock.monotonic()

    # Pace.

    async def _patiently(self, call: Callable[[], Awaitable[None]], event: str) -> None:
        """Call until it works, with growing pauses. Raises an error that cannot pass."""
        pause = PAUSE
        while True:
            try:
                return await call()
            except ProviderError as error:
                if error.retry is Retry.NEVER:
                    raise
                log.warning(event, code=error.code, error=str(error))
            await self._clock.sleep(pause)
            pause = min(2 * pause, PAUSE_MAX)

    async def _wait(self, group: asyncio.TaskGroup) -> None:
        """Until woken, or until the next thing is due without it."""

        async def ring(seconds: float) -> None:
            await self._clock.sleep(seconds)
            self._woken.set()

        alarm = group.create_task(ring(self._pause()), name="sender alarm")
        try:
            await self._woken.wait()
        finally:
            alarm.cancel()

    def _pause(self) -> float:
        retries = [f.retry_at for f in self._flights if f.retry_at is not None and f.row.state is _S.SIGNED]
        due = max(min(retries, default=float("inf")), self._rest_until)
        return min(TICK, max(due - self._clock.monotonic(), 0.1))

    def _may_retry(self, flight: Flight) -> bool:
        return flight.retry_at is None or self._clock.monotonic() >= flight.retry_at

    def _late(self, row: IntentRow) -> bool:
        deadline, block = row.intent.deadline, self._head.block
        now = max(self._clock.now(), float(block.timestamp) if block else 0.0)
        return deadline is not None and now > deadline

    def _deep(self, block_number: int) -> bool:
        return self._observed - block_number >= self._confirmations
