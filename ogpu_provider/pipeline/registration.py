"""Our registration to a source, made and undone: a transaction that is planned once, and waited for."""

from dataclasses import replace

from ogpu_provider.domain.errors import ProviderError, Retry
from ogpu_provider.domain.intent import Intent, IntentState
from ogpu_provider.domain.source import Environment
from ogpu_provider.domain.units import Address
from ogpu_provider.pipeline.ports import Ports

LOOK_S = 0.2
"""Seconds between two looks at the transaction."""


class RegistrationFailed(ProviderError):
    """The chain refused it (`<effect>.reverted`), or it is in no block yet (`<effect>.pending`)."""

    default_retry = Retry.LATER


class Registration:
    """Each raises RegistrationFailed after `timeout` seconds, or where the chain refuses; again is safe."""

    def __init__(self, ports: Ports, *, timeout: float) -> None:
        self._ports = ports
        self._timeout = timeout

    async def make(self, address: Address, environment: Environment) -> None:
        await self._sent("registration", self._ports.chain.intent_register(address, environment))

    async def undo(self, address: Address) -> None:
        await self._sent("unregistration", self._ports.chain.intent_unregister(address))

    async def _sent(self, what: str, intent: Intent) -> None:
        """Plan it once, then wait for its transaction. A refused one is planned anew next time."""
        intent = await self._unused(intent)
        await self._ports.journal.plan(intent, at=self._ports.clock.now())
        self._ports.sender.wake()
        give_up = self._ports.clock.monotonic() + self._timeout
        while self._ports.clock.monotonic() < give_up:
            row = await self._ports.journal.intent(intent.key)
            if row and row.state in (IntentState.REVERTED, IntentState.ABANDONED):
                text = f"the chain refused the {what}: check lockup, pairing and the source's minimum"
                raise RegistrationFailed(text, code=f"{intent.effect}.reverted")
            if row and row.state in (IntentState.MINED, IntentState.CONFIRMED):
                return
            await self._ports.clock.sleep(LOOK_S)
        raise RegistrationFailed(f"the {what} is not in a block yet", code=f"{intent.effect}.pending")

    async def _unused(self, intent: Intent) -> Intent:
        """The first key of this effect that is still open or was never planned."""
        number = 1
        while True:
            candidate = replace(intent, key=f"{intent.key}:{number}")
            row = await self._ports.journal.intent(candidate.key)
            if row is None or row.state.open:
                return candidate
            number += 1
