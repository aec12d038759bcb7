"""What was missed, grouped by the reason that decided, with the setting that would have taken it. Pure; wei."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

from ogpu_provider.domain.units import Wei
from ogpu_provider.domain.verdict import Ruling

REMEDIES: Mapping[str, str] = {
    "provider.paused": "ogpu-provider resume",
    "provider.draining": "ogpu-provider resume",
    "source.leaving": "ogpu-provider sources add",
    "compose.changed": "ogpu-provider sources approve",
    "capacity.none": "admission.slots_per_source, admission.cpu_slots: more",
    "capacity.devices": "sources.idle_after = 60",
}
"""What would have taken it, for reasons that no rule gave. What is not here no setting would have changed."""

_RAISED = ("breakers.", "admission.line")
"""Settings of which more takes more; of all others less does."""


@dataclass(slots=True)
class Group:
    """Tasks that one reason decided on. `alone`: those that nothing else spoke against. `text`: of the latest.

    `settings`: by name, the value that would have let all of them pass this reason.
    """

    code: str
    tasks: int = 0
    worth: Wei = 0
    alone: int = 0
    alone_worth: Wei = 0
    text: str = ""
    settings: dict[str, str] = field(default_factory=dict)

    def add(self, worth: Wei, text: str, setting: str, *, alone: bool) -> None:
        self.tasks += 1
        self.worth += worth
        self.alone += alone
        self.alone_worth += worth if alone else 0
        self.text = text
        if setting:
            name, _, value = setting.partition(" = ")
            kept = self.settings.get(name)
            if kept is None:
                self.settings[name] = value
            elif kept != value:
                self.settings[name] = _further(name, kept, value)

    @property
    def lines(self) -> list[str]:
        """The settings as they are written."""
        return [f"{name} = {value}" if value else name for name, value in self.settings.items()]


class Misses:
    """`add` each missed task with all that spoke against it, in the order of the rules: the first one decided."""

    def __init__(self) -> None:
        self._groups: dict[str, Group] = {}

    def add(self, worth: Wei, against: Sequence[Ruling]) -> None:
        first = against[0]
        group = self._groups.get(first.code)
        if group is None:
            group = self._groups[first.code] = Group(first.code)
        setting = first.setting or REMEDIES.get(first.code, "")
        group.add(worth, first.text, setting, alone=len(against) == 1)

    def groups(self) -> list[Group]:
        """The dearest first."""
        return sorted(self._groups.values(), key=lambda group: (-group.worth, -group.tasks, group.code))

    @property
    def tasks(self) -> int:
        return sum(group.tasks for group in self._groups.values())

    @property
    def worth(self) -> Wei:
        return sum(group.worth for group in self._groups.values())


def against(rulings: Iterable[Ruling]) -> list[Ruling]:
    return [ruling for ruling in rulings if not ruling.passed]


def _further(name: str, one: str, other: str) -> str:
    """Of two values of a setting, the one that takes more."""
    try:
        first, second = Decimal(one.strip('"')), Decimal(other.strip('"'))
    except InvalidOperation:
        return one
    raised = name.startswith(_RAISED)
    return one if (first >= second) is raised or first == second else other
