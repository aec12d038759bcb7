"""Carries signed bytes to the nodes, and outcomes to whoever planned the intent.

No decision rests on what a node says about a send: after an error the outcome is unknown, and the chain is asked
what it knows.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import structlog

from ogpu_provider.chain.flights import Flight, Flights
from ogpu_provider.chain.receipts import Node, read_known
from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.errors import ProviderError, Retry, RpcRejected, RpcUnavailable
from ogpu_provider.domain.intent import IntentRow, IntentState, SignedTx
from ogpu_provider.domain.killpoints import reach
from ogpu_provider.domain.together import begin
from ogpu_provider.domain.units import Hash

log = structlog.get_logger(__name__)

PAUSE = 1.0
PAUSE_MAX = 30.0
"""Seconds between tries: after the first, and at most."""

_S = IntentState

OnOutcome = Callable[[IntentRow], Awaitable[None]]


class Courier:
    """`group` is set by who runs it. `refused` is set where a node's answer asks for a look at the account."""

    def __init__(self, rpc: Node, flights: Flights, clock: Clock, on_outcome: OnOutcome) -> None:
        self._rpc = rpc
        self._flights = flights
        self._clock = clock
        self._on_outcome = on_outcome
        self.group: asyncio.TaskGroup | None = None
        self.woken = asyncio.Event()
        self.refused = False

    def send(self, flight: Flight, tx: SignedTx) -> None:
        """Broadcast in the background."""
        self._spawn(self._broadcast(flight, tx), f"send {flight.key}")

    async def close(self, flight: Flight, state: IntentState, *, why: str = "", **found: Any) -> None:
        """Close an intent and tell of it, until it is taken or that is hopeless."""
        row = await self._flights.close(flight, state, **found)
        reach(f"{row.intent.effect}.closed")
        log.info(f"tx.{state}", intent=flight.key, tx=row.tx_hash, nonce=row.nonce, why=why)
        self._spawn(self._tell(row), f"outcome {flight.key}")

    async def patiently(self, call: Callable[[], Awaitable[None]], event: str) -> None:
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

    async def _broadcast(self, flight: Flight, tx: SignedTx) -> None:
        """Send signed bytes once."""
        flight.retry_at = self._clock.monotonic() + min(PAUSE * 2**flight.tries, PAUSE_MAX)
        flight.tries = min(flight.tries + 1, 10)
        effect = flight.row.intent.effect
        try:
            reach(f"{effect}.signed")
            await self._rpc.call("eth_sendRawTransaction", "0x" + tx.raw.hex())
            reach(f"{effect}.sent")
        except RpcUnavailable as error:
            log.warning("tx.send_unknown", intent=flight.key, tx=tx.hash, error=str(error))
            self.woken.set()  # for the pause until the next try
            return
        except RpcRejected as error:
            self.refused = True  # perhaps the nonce has moved: look
            if not await self._knows(tx.hash):
                flight.refusals += 1
                log.warning("tx.send_refused", intent=flight.key, tx=tx.hash, nonce=tx.nonce, error=str(error))
                self.woken.set()
                return
        log.info("tx.sent", intent=flight.key, tx=tx.hash, nonce=tx.nonce)
        await self._flights.sent(flight)

    async def _knows(self, tx_hash: Hash) -> bool:
        try:
            return (await read_known(self._rpc, [tx_hash])).get(tx_hash, False)
        except RpcUnavailable:
            return False

    async def _tell(self, row: IntentRow) -> None:
        try:
            await self.patiently(lambda: self._on_outcome(row), "tx.outcome_not_taken")
        except ProviderError as error:  # the path compares its tasks with the chain at every start
            log.error("tx.outcome_refused", intent=row.intent.key, code=error.code, error=str(error))

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        assert self.group is not None, "the sender is not running"
        begin(self.group, work, name=name)
