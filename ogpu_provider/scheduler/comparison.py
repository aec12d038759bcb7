"""Our reading of NVIDIA cards beside that of `nvidia-smi`, field by field.

What stands still must be the same. What moves (memory in use, temperature, power) must lie between our readings before
and after, with some room. The rest is shown: clocks and shares are averages over other moments.
"""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ogpu_provider.domain.errors import ProviderError
from ogpu_provider.scheduler.reading import DeviceReading, Reading

MIB = 1 << 20
_UNTOLD = ("n/a", "not supported", "unknown error", "not available", "")
_THERMAL = 4.0


class ComparisonImpossible(ProviderError):
    """There is nothing to compare with."""

    default_code = "device.not_comparable"


class Agreement(StrEnum):
    """`untold`: neither says; `shown`: not judged."""

    SAME = "same"
    NEAR = "near"
    DIFFERS = "differs"
    SHOWN = "shown"
    UNTOLD = "untold"


@dataclass(frozen=True, slots=True)
class Row:
    """One field of one card. `ours` and `theirs` as text, empty where one does not tell."""

    card: str
    field: str
    ours: str
    theirs: str
    agreement: Agreement


Value = str | float | None


@dataclass(frozen=True, slots=True)
class _Field:
    """`query` is nvidia-smi's name. `room`: None: the same or not; else how far it may be off; infinite: not judged.
    `whole`: of an instance it is not the card's, and not judged.
    """

    query: str
    ours: Callable[[DeviceReading], Value]
    room: Callable[[float], float] | None = None
    whole: bool = False


def _never(_: float) -> float:
    return float("inf")


_FIELDS = (
    _Field("name", lambda each: each.device.name, whole=True),
    _Field("memory.total", lambda each: each.device.memory_total // MIB, whole=True),
    _Field(
        "memory.used",
        lambda each: (each.device.memory_used - (each.gauges.memory_reserved or 0)) / MIB,
        lambda used: 64 + used / 20,
        whole=True,
    ),
    _Field("memory.reserved", lambda each: _over(each.gauges.memory_reserved, MIB), lambda _: 2.0),
    _Field("utilization.gpu", lambda each: each.gauges.utilisation, _never),
    _Field("utilization.memory", lambda each: each.gauges.memory_utilisation, _never),
    _Field("temperature.gpu", lambda each: each.gauges.temperature, lambda _: _THERMAL),
    _Field("power.draw", lambda each: each.gauges.power, lambda power: 20 + power / 2),
    _Field("enforced.power.limit", lambda each: each.gauges.power_limit, lambda _: 0.01),
    _Field("clocks.sm", lambda each: each.gauges.clock, _never),
    _Field("clocks.mem", lambda each: each.gauges.clock_memory, _never),
    _Field("clocks.max.sm", lambda each: each.gauges.clock_max),
    _Field("clocks.max.mem", lambda each: each.gauges.clock_memory_max),
    _Field("pcie.link.width.current", lambda each: each.gauges.pcie_width),
    _Field("pcie.link.width.max", lambda each: each.gauges.pcie_width_max),
    _Field("pcie.link.gen.current", lambda each: each.gauges.pcie_generation, _never),
    _Field("ecc.errors.corrected.volatile.total", lambda each: each.gauges.ecc_corrected),
    _Field("ecc.errors.uncorrected.volatile.total", lambda each: each.gauges.ecc_uncorrected),
)
QUERY = ("uuid", "driver_version", *(field.query for field in _FIELDS))
COMMAND = ("nvidia-smi", f"--query-gpu={','.join(QUERY)}", "--format=csv,noheader,nounits")


def compare(before: Reading, after: Reading, output: str) -> list[Row]:
    """`output`: what COMMAND wrote between our two readings. Raises ComparisonImpossible for anything else."""
    theirs = _parsed(output)
    first, last = _by_card(before), _by_card(after)
    rows = [
        Row(card, "uuid", card if card in last else "", card if card in theirs else "", Agreement.DIFFERS)
        for card in sorted(theirs.keys() ^ last.keys())
    ]
    for card in (card for card in theirs if card in last):
        told = theirs[card]
        rows.append(Row(card, "uuid", card, card, Agreement.SAME))
        rows.append(_same(card, "driver_version", after.driver, told["driver_version"]))
        rows += [_row(card, field, first.get(card, last[card]), last[card], told[field.query]) for field in _FIELDS]
    return rows


def _parsed(output: str) -> dict[str, Mapping[str, str]]:
    found: dict[str, Mapping[str, str]] = {}
    for cells in csv.reader(output.splitlines(), skipinitialspace=True):
        if len(cells) != len(QUERY):
            raise ComparisonImpossible(f"nvidia-smi answered otherwise than it was asked: {output.strip()[:200]}")
        values = (cell.strip().strip("[]") for cell in cells)
        told = {name: "" if value.lower() in _UNTOLD else value for name, value in zip(QUERY, values, strict=True)}
        found[told["uuid"]] = told
    return found


def _by_card(reading: Reading) -> dict[str, DeviceReading]:
    return {each.device.card: each for each in reversed(reading.found)}


def _row(card: str, field: _Field, before: DeviceReading, after: DeviceReading, theirs: str) -> Row:
    old, new = field.ours(before), field.ours(after)
    if field.whole and after.device.part_of:
        return Row(card, field.query, _text(new), theirs, Agreement.SHOWN)
    if field.room is None or old is None or new is None or not theirs:
        return _same(card, field.query, _text(new), theirs)
    told, low, high = float(theirs), min(float(old), float(new)), max(float(old), float(new))
    room = field.room(high)
    if room == float("inf"):
        agreement = Agreement.SHOWN
    elif low - room <= told <= high + room:
        agreement = Agreement.SAME if told == float(new) else Agreement.NEAR
    else:
        agreement = Agreement.DIFFERS
    return Row(card, field.query, _text(new), theirs, agreement)


def _same(card: str, field: str, ours: str, theirs: str) -> Row:
    agreement = Agreement.SAME if ours == theirs else Agreement.DIFFERS
    return Row(card, field, ours, theirs, agreement if ours or theirs else Agreement.UNTOLD)


def _over(value: int | None, unit: int) -> float | None:
    return None if value is None else value / unit


def _text(value: Value) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else f"{value:.10g}"


def disagreements(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.agreement is Agreement.DIFFERS]
