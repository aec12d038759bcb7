"""Versions as distributions write them: `1:1.19.1-1`, `1.3.3-0ubuntu1~22.04.3`, `20.10.24+dfsg1`, `2.0.0-rc.2`."""

import re
from dataclasses import dataclass
from functools import total_ordering

_SHAPE = re.compile(
    r"(?:\d+:)?v?(?P<numbers>\d+(?:\.\d+)*)(?:[-~.+_]?(?P<pre>rc|alpha|beta|pre|dev)[-.]?(?P<step>\d*))?"
)


@total_ordering
@dataclass(frozen=True, slots=True)
class Version:
    """The upstream release: a distribution's epoch, revision and repack marks are no part of it.

    A pre-release is older than its release. Missing numbers count as 0, so 29.7 equals 29.7.0.
    """

    numbers: tuple[int, ...]
    stage: tuple[str, int] | None = None

    @property
    def branch(self) -> tuple[int, int]:
        return (*self.numbers, 0)[0], (*self.numbers, 0)[1]

    @property
    def _order(self) -> tuple[tuple[int, ...], tuple[int, str, int]]:
        trimmed = self.numbers
        while trimmed and trimmed[-1] == 0:
            trimmed = trimmed[:-1]
        return trimmed, ((0, *self.stage) if self.stage else (1, "", 0))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and self._order == other._order

    def __hash__(self) -> int:
        return hash(self._order)

    def __lt__(self, other: "Version") -> bool:
        return self._order < other._order

    def __str__(self) -> str:
        numbers = ".".join(map(str, self.numbers))
        return numbers + (f"-{self.stage[0]}{self.stage[1]}" if self.stage else "")


def parse(text: str) -> Version | None:
    """The first thing in `text` that looks like a version; None if nothing does."""
    match = _SHAPE.search(text.strip().lower())
    if match is None:
        return None
    numbers = tuple(int(part[:9]) for part in match["numbers"].split("."))
    return Version(numbers, (match["pre"], int(match["step"] or 0)) if match["pre"] else None)
