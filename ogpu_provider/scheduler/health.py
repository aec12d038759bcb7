"""Is a card fit for work? What its instruments say, reading after reading. No I/O; time is given.

    gpu.xid       the driver reported an error that no program causes          an event
    gpu.ecc       errors in its memory that could not be corrected             an event
    gpu.rows      a broken row of its memory could not be replaced             lasts until the card is repaired
    gpu.lost      known before; now the driver cannot reach a card             lasts until it can
    gpu.thermal   for a while as hot as it may become                          lasts until it is cooler
    gpu.pcie      for a while fewer lanes than it could have                   lasts until it has them

An event is over when a test has passed; what lasts must end by itself first.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ogpu_provider.domain.verdict import Reason
from ogpu_provider.scheduler.reading import DeviceReading, Gauges
from ogpu_provider.scheduler.xid import Fault, fault_of, named

LOST = frozenset({"gpu.lost", "gpu.unreadable"})
"""Problems of a reading that say: there is a card, and it cannot be reached."""
LASTING = frozenset({"gpu.rows", "gpu.lost", "gpu.thermal", "gpu.pcie"})
_COOLER = 5.0
"""Celsius below the limit at which a hot card counts as cool again."""


@dataclass(frozen=True, slots=True)
class HealthPolicy:
    """The operator's thresholds.

    `xid_ignored`: errors never held against a card. `ecc_uncorrected`: so many new errors; 0: never.
    `max_temperature` in Celsius; None: where the card slows itself down. `pcie_share`: least share of the lanes that
    card and slot can have, 0 to 1. `hold`: seconds for which heat or lost lanes must last.
    `retest_after`: seconds from a cordon to its test, and between two. `returns`: so many cordons of a card within a
    day may be lifted by tests; then only the operator does.
    """

    xid_ignored: frozenset[int] = frozenset()
    ecc_uncorrected: int = 1
    max_temperature: float | None = None
    pcie_share: float = 1.0
    hold: float = 60.0
    retest_after: float = 600.0
    returns: int = 3


@dataclass(frozen=True, slots=True)
class Ailment:
    """What is wrong with a card, by its id."""

    card: str
    name: str
    reason: Reason


class Health:
    """What is remembered of each card from one reading to the next.

    `tolerated`: what the operator said is all right, as (card, code); it holds until it is over.
    `counted`: cards whose errors so far were dealt with before: only new ones count.
    """

    def __init__(
        self,
        policy: HealthPolicy,
        *,
        tolerated: Iterable[tuple[str, str]] = (),
        counted: Iterable[str] = (),
    ) -> None:
        self._policy = policy
        self._tolerated = set(tolerated)
        self._counted = set(counted)
        self._names: dict[str, str] = {}
        self._told: tuple[Reason, ...] = ()
        self._missing: dict[str, str] = {}
        self._errors: dict[str, int] = {}
        self._since: dict[tuple[str, str], float] = {}
        self._lasting: dict[str, dict[str, str]] = {}

    def look(self, found: Sequence[DeviceReading], problems: Sequence[Reason], now: float) -> list[Ailment]:
        """All that is wrong now, the worst of each card first. `now`: monotonic seconds."""
        cards = _cards(found)
        ailments = self._lost(cards, problems)
        for card, reading in cards.items():
            self._names[card] = reading.device.name
            if reading.device.withheld:
                continue  # the driver is silent: these are old figures
            self._lasting[card] = self._lasts(card, reading.gauges, now)
            events = [*self._xids(reading), *self._ecc(card, reading.gauges)]
            reasons = [*events, *(Reason(code, text) for code, text in self._lasting[card].items())]
            ailments += [Ailment(card, reading.device.name, reason) for reason in reasons]
        return ailments

    def stands(self, card: str) -> str:
        """What still speaks against a card apart from events; empty if nothing does."""
        return "; ".join(self._lasting.get(card, {}).values())

    def codes(self, card: str) -> frozenset[str]:
        """Codes of what lasts."""
        return frozenset(self._lasting.get(card, {}))

    def tolerate(self, card: str, code: str) -> None:
        """The operator takes the card as it is."""
        self._tolerated.add((card, code))
        self._lasting.get(card, {}).pop(code, None)

    def _lost(self, cards: Mapping[str, DeviceReading], problems: Sequence[Reason]) -> list[Ailment]:
        """A reading says that a card is lost, not which: one that went when that was first said. Without such a word it
        was taken out of the host, and is not ill.
        """
        told = tuple(problem for problem in problems if problem.code in LOST)
        news = [problem.text for problem in told if problem not in self._told]
        self._told = told
        for card in self._missing.keys() & cards.keys():
            del self._missing[card]
        for card in [card for card in self._names if card not in cards]:
            if news:
                self._missing.setdefault(card, news[0])
            if card not in self._missing or not told:
                self._forget(card)
        for card, text in self._missing.items():
            self._lasting[card] = {"gpu.lost": text}
        return [Ailment(card, self._names[card], Reason("gpu.lost", text)) for card, text in self._missing.items()]

    def _forget(self, card: str) -> None:
        del self._names[card]
        for kept in (self._missing, self._lasting, self._errors):
            kept.pop(card, None)
        self._since = {key: since for key, since in self._since.items() if key[0] != card}

    def _xids(self, reading: DeviceReading) -> list[Reason]:
        bad = [n for n in reading.xids if fault_of(n) is Fault.CARD and n not in self._policy.xid_ignored]
        return [Reason("gpu.xid", ", ".join(named(n) for n in dict.fromkeys(bad)))] if bad else []

    def _ecc(self, card: str, gauges: Gauges) -> list[Reason]:
        """Counted since the driver was loaded: a counter that fell began anew."""
        count = gauges.ecc_uncorrected
        if count is None:
            return []
        before = self._errors.get(card, count if card in self._counted else 0)
        base = before if count >= before else 0
        new = count - base
        enough = 0 < self._policy.ecc_uncorrected <= new
        self._errors[card] = count if enough else base
        if not enough:
            return []
        return [Reason("gpu.ecc", f"{new} memory errors could not be corrected ({count} since the driver was loaded)")]

    def _lasts(self, card: str, gauges: Gauges, now: float) -> dict[str, str]:
        seen = {"gpu.rows": _rows(gauges), "gpu.thermal": self._heat(card, gauges), "gpu.pcie": self._lanes(gauges)}
        lasting = {}
        for code, text in seen.items():
            key = (card, code)
            if not text:
                self._since.pop(key, None)
                self._tolerated.discard(key)
                continue
            since = self._since.setdefault(key, now)
            if (code == "gpu.rows" or now - since >= self._policy.hold) and key not in self._tolerated:
                lasting[code] = text
        return lasting

    def _heat(self, card: str, gauges: Gauges) -> str:
        limit = self._policy.max_temperature or gauges.temperature_slowdown
        if limit is None or gauges.temperature is None:
            return ""
        hot = (card, "gpu.thermal") in self._since
        if gauges.temperature < (limit - _COOLER if hot else limit):
            return ""
        return f"{gauges.temperature:g} °C; the limit is {limit:g} °C"

    def _lanes(self, gauges: Gauges) -> str:
        width, most = gauges.pcie_width, gauges.pcie_width_max
        if not width or not most or width >= most * self._policy.pcie_share:
            return ""
        return f"{width} of {most} PCIe lanes"


def _rows(gauges: Gauges) -> str:
    return "a broken row of its memory could not be replaced" if gauges.rows_failed else ""


def _cards(found: Iterable[DeviceReading]) -> dict[str, DeviceReading]:
    """Instances share the instruments of their card: one reading of each card."""
    return {each.device.card: each for each in reversed(list(found))}
