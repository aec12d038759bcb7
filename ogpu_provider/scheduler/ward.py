"""Cards that are out of use for their health: cordoned, tested again, given back.

A cordon stands in the journal, so a restart lifts none. What runs on the card goes on; nothing new is put on it. After
a while a small container is given the card: if that works, and nothing lasting speaks against it, the cordon is
lifted. A card that comes back too often waits for the operator, as does one that the operator cordoned.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import structlog

from ogpu_provider.domain.clock import Clock
from ogpu_provider.domain.cordon import Cordon, LiftedBy
from ogpu_provider.domain.errors import ProviderError
from ogpu_provider.domain.resources import Device
from ogpu_provider.domain.verdict import Reason
from ogpu_provider.scheduler.health import LASTING, Ailment, Health, HealthPolicy
from ogpu_provider.scheduler.reading import DeviceReading

log = structlog.get_logger()
CORDONED = "gpu.cordoned"
BY_HAND = "gpu.operator"
"""The reason's code of a cordon that the operator set."""
LOOK_S = 15.0
DAY_S = 86_400.0


class CardUnknown(ProviderError):
    """No such card here, or no cordon on it."""

    default_code = "device.unknown"


class CordonBook(Protocol):
    """The journal's part about cordons; see `pipeline.ports.Journal`."""

    async def cordons(self, *, lifted: bool = False) -> list[Cordon]: ...

    async def cordon(self, cordon: Cordon) -> None: ...

    async def uncordon(self, card: str, *, at: float, by: str) -> None: ...


class Ward:
    """`test` gives a device to a small container, and raises a ProviderError that says what did not work.

    `changed` is called after each cordon that was set or lifted.
    """

    def __init__(
        self,
        book: CordonBook,
        policy: HealthPolicy,
        clock: Clock,
        test: Callable[[Device], Awaitable[None]],
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._book = book
        self._policy = policy
        self._clock = clock
        self._test = test
        self._changed = changed
        self._health = Health(policy)
        self._history: list[Cordon] = []
        self._devices: tuple[Device, ...] = ()
        self._tested: dict[str, float] = {}
        self._verdicts: dict[str, str] = {}

    @property
    def standing(self) -> tuple[Cordon, ...]:
        """Oldest first."""
        return tuple(cordon for cordon in self._history if cordon.lifted_at is None)

    async def restore(self) -> None:
        """Read what earlier runs set. Before the first `look`."""
        self._history = await self._book.cordons(lifted=True)
        last = {(cordon.card, cordon.reason.code): cordon for cordon in self._history}
        self._health = Health(
            self._policy,
            tolerated=[key for key, cordon in last.items() if cordon.lifted_by == LiftedBy.OPERATOR],
            counted=[card for card, code in last if code == "gpu.ecc"],
        )
        for cordon in self.standing:
            log.warning("card_still_cordoned", card=cordon.card, name=cordon.name, reason=cordon.text)

    async def look(
        self, found: Sequence[DeviceReading], problems: Sequence[Reason]
    ) -> Mapping[str, tuple[Reason, ...]]:
        """Cordon what is ill; returns why devices are withheld, by their id. Raises StoreError."""
        self._devices = tuple(each.device for each in found)
        for ailment in self._health.look(found, problems, self._clock.monotonic()):
            if self._cordon_of(ailment.card) is None:
                await self._set(ailment)
            elif ailment.reason.code not in LASTING:
                self._tested[ailment.card] = self._clock.now()  # it happened again: the test is put off
        cordons = {cordon.card: cordon for cordon in self.standing}
        return {
            device.id: (Reason(CORDONED, f"cordoned for {cordons[device.card].text}"),)
            for device in self._devices
            if device.card in cordons
        }

    async def cordon(self, card: str, text: str) -> Cordon:
        """The operator takes a card out of use, by its id or that of an instance; no test lifts that.

        Raises CardUnknown.
        """
        device = next((each for each in self._devices if card in (each.card, each.id)), None)
        if device is None:
            raise CardUnknown(f"no card {card} on this host", remedy="`ogpu-provider devices` lists them")
        standing = self._cordon_of(device.card)
        return standing or await self._set(Ailment(device.card, device.name, Reason(BY_HAND, text)))

    async def uncordon(self, card: str) -> Cordon:
        """The operator takes the card as it is: what lasts is tolerated until it is over. Raises CardUnknown."""
        card = next((each.card for each in self._devices if each.id == card), card)
        cordon = self._cordon_of(card)
        if cordon is None:
            raise CardUnknown(f"no cordon on {card}", code="device.not_cordoned", remedy="`ogpu-provider devices`")
        for code in {cordon.reason.code, *self._health.codes(card)} & LASTING:
            self._health.tolerate(card, code)
        return await self._lift(cordon, LiftedBy.OPERATOR)

    def outlook(self, cordon: Cordon) -> str:
        """What a cordoned card waits for."""
        if cordon.reason.code == BY_HAND:
            return "waits for `devices uncordon`"
        if self._returned(cordon.card) >= self._policy.returns:
            return f"came back {self._policy.returns} times within a day: waits for `devices uncordon`"
        if lasts := self._health.stands(cordon.card):
            return f"lasts: {lasts}"
        said = f"the last test failed: {verdict}; " if (verdict := self._verdicts.get(cordon.card)) else ""
        return f"{said}tested again in {max(0.0, self._due(cordon) - self._clock.now()):.0f} s"

    async def run(self) -> None:
        """Test cordoned cards when it is time. A service."""
        while True:
            await self._clock.sleep(LOOK_S)
            await self.retest()

    async def retest(self) -> None:
        """Test every card that is due, one after the other."""
        for cordon in self.standing:
            if self._testable(cordon):
                await self._try(cordon)

    async def _try(self, cordon: Cordon) -> None:
        self._tested[cordon.card] = self._clock.now()
        try:
            for device in [each for each in self._devices if each.card == cordon.card]:
                await self._test(device)
        except ProviderError as error:
            self._verdicts[cordon.card] = str(error)
            log.warning("card_test_failed", card=cordon.card, name=cordon.name, code=error.code, error=str(error))
            return
        if self._cordon_of(cordon.card) is cordon and not self._health.stands(cordon.card):
            await self._lift(cordon, LiftedBy.TEST)

    def _testable(self, cordon: Cordon) -> bool:
        present = any(each.card == cordon.card for each in self._devices)
        hopeful = cordon.reason.code != BY_HAND and self._returned(cordon.card) < self._policy.returns
        over = not self._health.stands(cordon.card)
        return present and hopeful and over and self._clock.now() >= self._due(cordon)

    def _due(self, cordon: Cordon) -> float:
        return max(cordon.at, self._tested.get(cordon.card, 0.0)) + self._policy.retest_after

    def _returned(self, card: str) -> int:
        """How often a test gave it back within a day."""
        since = self._clock.now() - DAY_S
        tests = [each for each in self._history if each.card == card and each.lifted_by == LiftedBy.TEST]
        return sum((each.lifted_at or 0.0) > since for each in tests)

    def _cordon_of(self, card: str) -> Cordon | None:
        return next((cordon for cordon in self.standing if cordon.card == card), None)

    async def _set(self, ailment: Ailment) -> Cordon:
        cordon = Cordon(ailment.card, ailment.name, ailment.reason, self._clock.now())
        self._history.append(cordon)
        log.error("card_cordoned", card=cordon.card, name=cordon.name, code=cordon.reason.code, reason=cordon.text)
        await self._book.cordon(cordon)
        self._changed()
        return cordon

    async def _lift(self, cordon: Cordon, by: LiftedBy) -> Cordon:
        lifted = replace(cordon, lifted_at=self._clock.now(), lifted_by=by)
        await self._book.uncordon(cordon.card, at=self._clock.now(), by=by)
        self._history[self._history.index(cordon)] = lifted
        self._verdicts.pop(cordon.card, None)
        log.warning("card_uncordoned", card=cordon.card, name=cordon.name, by=by, was=cordon.text)
        self._changed()
        return lifted
