"""Documents by content."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pin:
    cid: str
    link: str
