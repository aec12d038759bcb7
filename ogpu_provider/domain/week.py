"""Hours of the week, as people write them: `mon-fri 18:00-08:00`, `sat,sun`, `22:00-06:00`."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = 24 * 60
_FORM = re.compile(r"(?:(?P<days>[a-z,\-]+))?\s*(?:(?P<begin>\d\d:\d\d)-(?P<end>\d\d:\d\d))?")


@dataclass(frozen=True, slots=True)
class Hours:
    """Minutes of the day from `begin` to before `end`, on `days` (0 is Monday). Past midnight if end <= begin: those

    hours belong to the day on which they began. `text` is what was written.
    """

    text: str
    days: frozenset[int]
    begin: int = 0
    end: int = _DAY

    def contain(self, moment: datetime) -> bool:
        """Whether the wall-clock time of `moment` lies within."""
        minute, day = moment.hour * 60 + moment.minute, moment.weekday()
        if self.begin < self.end:
            return day in self.days and self.begin <= minute < self.end
        return (day in self.days and minute >= self.begin) or ((day - 1) % 7 in self.days and minute < self.end)


def hours(text: str) -> Hours:
    """Read one span of hours. Raises ValueError, which says what was expected."""
    found = _FORM.fullmatch(text.strip().lower())
    if not found or not (found["days"] or found["begin"]):
        raise ValueError(f"{text!r}: days, hours or both, as in `mon-fri 18:00-08:00`, `sat,sun` or `22:00-06:00`")
    days = _days(found["days"]) if found["days"] else frozenset(range(7))
    if not found["begin"]:
        return Hours(text, days)
    begin, end = _minute(found["begin"], text), _minute(found["end"], text)
    if begin == end:
        raise ValueError(f"{text!r} begins when it ends; leave the hours out for whole days")
    return Hours(text, days, begin, end)


def within(spans: Iterable[Hours], moment: datetime) -> Hours | None:
    """The first span that contains the moment."""
    return next((span for span in spans if span.contain(moment)), None)


def _days(text: str) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if first not in DAYS or (dash and last not in DAYS):
            raise ValueError(f"{part!r} is no day of the week; they are {', '.join(DAYS)}")
        begin = DAYS.index(first)
        count = (DAYS.index(last) - begin) % 7 if dash else 0
        found.update((begin + step) % 7 for step in range(count + 1))
    return frozenset(found)


def _minute(clock: str, text: str) -> int:
    hour, minute = int(clock[:2]), int(clock[3:])
    if hour * 60 + minute > _DAY or minute > 59:
        raise ValueError(f"{text!r}: {clock} is no time of the day")
    return hour * 60 + minute
