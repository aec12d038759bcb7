"""What one OGPU is worth in the operator's money: a figure in the settings, or a file that something else keeps.

The file holds one number. It is read when it has changed; nobody on the network is asked. One that cannot be read, or
has not changed for too long, is told in the log and in `status`, and the last good figure stays in force until there is
a better one: a price that was right yesterday is nearer to the truth than none.
"""

import asyncio
import time
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path

import structlog

from ogpu_provider.domain.clock import Clock

log = structlog.get_logger()
LOOK_S = 15.0
_LONGEST = 100
"""Bytes; more than any price has."""


@dataclass(frozen=True, slots=True)
class CoinPriceState:
    """`price` in force, None if there never was one. `changed_at`: unix seconds of its file, None for a static figure.

    `code` and `problem`: `price.unreadable`, `price.malformed` or `price.stale`, and one sentence.
    """

    price: Fraction | None = None
    changed_at: float | None = None
    code: str = ""
    problem: str = ""


class CoinPrice:
    """`static` counts where there is no `file`, and until the file was read once. `max_age` in seconds."""

    def __init__(self, clock: Clock, *, static: Fraction | None, file: Path | None, max_age: float) -> None:
        self._clock = clock
        self._file = file
        self._max_age = max_age
        self._seen: tuple[int, int, int] | None = None
        self._broken: tuple[str, str] = ("", "")
        self.state = CoinPriceState(static)

    def price(self) -> Fraction | None:
        """Money for one OGPU; None: nobody said."""
        return self.state.price

    async def run(self) -> None:
        """Look again and again. A service."""
        while self._file is not None:
            await self.look()
            await self._clock.sleep(LOOK_S)

    async def look(self) -> CoinPriceState:
        """Read the file if it has changed. Never raises."""
        if self._file is None:
            return self.state
        try:
            stat = await asyncio.to_thread(self._file.stat)
            seen = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if seen != self._seen or self._broken[0]:
                text = await asyncio.to_thread(_read, self._file)
                self._seen, self._broken = seen, ("", "")
                self._take(text, stat.st_mtime)
        except OSError as error:
            self._broken = ("price.unreadable", f"{self._file}: {error.strerror or error}")
        self._tell(*(self._broken if self._broken[0] else self._age()))
        return self.state

    def _take(self, text: str, changed_at: float) -> None:
        try:
            price = Fraction(Decimal(text))
        except (InvalidOperation, ValueError, OverflowError):
            price = Fraction(0)
        if price <= 0:
            self._broken = ("price.malformed", f"{self._file} holds {text[:20]!r}; expected is one number above 0")
            return
        log.info("coin_price_read", price=str(text), file=str(self._file))
        self.state = CoinPriceState(price, changed_at)

    def _age(self) -> tuple[str, str]:
        changed_at = self.state.changed_at
        age = 0.0 if changed_at is None else self._clock.now() - changed_at
        if age <= self._max_age:
            return "", ""
        day = time.strftime("%Y-%m-%d %H:%M", time.gmtime(changed_at))
        return "price.stale", f"{self._file} has not changed since {day} UTC; price.coin_price_max_age is exceeded"

    def _tell(self, code: str, problem: str) -> None:
        """In the log when it begins and when it is over."""
        before = self.state
        self.state = CoinPriceState(before.price, before.changed_at, code, problem)
        if code and code != before.code:
            log.error("coin_price_in_doubt", code=code, reason=problem, still_used=str(float(before.price or 0)))
        elif before.code and not code:
            log.info("coin_price_good_again", file=str(self._file))


def _read(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(_LONGEST).decode("ascii", errors="replace").strip()
