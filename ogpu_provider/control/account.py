"""What the chain says of the provider's account, read when somebody asks; and thereby whether the node answers."""

import asyncio
from dataclasses import dataclass

import structlog

from ogpu_provider.chain.fees import START_GAS, FeeCaps, Suggestion, quote
from ogpu_provider.chain.wallet import FeeData, Pairing, Wallet
from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.errors import ProviderError
from ogpu_provider.domain.intent import Effect
from ogpu_provider.domain.units import Address, Wei

log = structlog.get_logger()

PAUSE_S = 60.0
REST_S = 3600.0
RETRY_S = 10.0
"""Seconds between two readings: at least, at most, and after one that failed."""
TASK_GAS = START_GAS[Effect.ATTEMPT] + START_GAS[Effect.SUBMIT_RESPONSE]
"""Gas allowed for one task before less is known to be enough."""


@dataclass(frozen=True, slots=True)
class Account:
    """One reading. Amounts in wei; `price` per gas is None while the chain asks for more than the cap.

    `eligible`: the Vault says so of the provider or of its master.
    """

    balance: Wei
    price: Wei | None
    pairing: Pairing
    eligible: bool
    sanctioned: Wei
    at: float

    @property
    def tasks_covered(self) -> int | None:
        """How many tasks the balance pays for at the present price; None if there is none, or gas is free."""
        return None if not self.price else self.balance // (self.price * TASK_GAS)


class AccountWatch:
    """`last` is the newest reading, `problem` what stopped the newest try (None if it worked). `run` is the service.

    `caps`: the sender's.
    """

    def __init__(self, wallet: Wallet, provider: Address, clock: Clock, caps: FeeCaps) -> None:
        self._wallet = wallet
        self._provider = provider
        self._clock = clock
        self._caps = caps
        self.last: Account | None = None
        self.problem: ProviderError | None = None
        self.tried_at: float | None = None
        self.took: float | None = None
        self._wanted = asyncio.Event()

    def want(self) -> None:
        """Somebody looks at it: read it again soon, if it is old."""
        self._wanted.set()

    async def run(self) -> None:
        while True:
            self._wanted.clear()
            await self.look()
            if self.problem:
                await self._clock.sleep(RETRY_S)
                continue
            await self._clock.sleep(PAUSE_S)
            rest = asyncio.ensure_future(self._rest())
            try:
                await self._wanted.wait()
            finally:
                rest.cancel()

    async def _rest(self) -> None:
        await self._clock.sleep(REST_S - PAUSE_S)
        self._wanted.set()

    async def look(self) -> None:
        begun = self._clock.monotonic()
        try:
            self.last = await self._read()
        except ProviderError as error:
            if self.problem is None:
                log.warning("account_unread", code=error.code, error=str(error))
            self.problem = error
        else:
            self.problem, self.took = None, self._clock.monotonic() - begun
        self.tried_at = self._clock.now()

    async def _read(self) -> Account:
        balance = await self._wallet.balance(self._provider)
        pairing = await self._wallet.pairing(self._provider)
        accounts = [self._provider, *([pairing.master] if pairing.master else [])]
        vaults = [await self._wallet.vault(account) for account in accounts]
        return Account(
            balance=balance,
            price=_price(await self._wallet.fees(), self._caps),
            pairing=pairing,
            eligible=any(vault.eligible for vault in vaults),
            sanctioned=sum(vault.sanctioned for vault in vaults),
            at=self._clock.now(),
        )


def _price(fees: FeeData, caps: FeeCaps) -> Wei | None:
    offer = quote(fees.base_fee, Suggestion(fees.tip or 0, fees.gas_price), caps)
    return None if offer is None else offer.max_fee
