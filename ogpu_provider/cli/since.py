"""How long back: `--since`."""

import time
from datetime import UTC, date, datetime

from ogpu_provider.domain.errors import ConfigError

SPANS = {"h": 3600.0, "d": 86_400.0, "w": 7 * 86_400.0}


def begin(since: str) -> float:
    """Unix seconds of a day (2026-01-31, UTC), or of a span back from now (12h, 30d, 4w).

    Raises ConfigError (`usage.since`).
    """
    number, unit = since[:-1], since[-1:]
    if unit in SPANS and number.isascii() and number.isdigit() and len(number) < 6:
        return max(0.0, time.time() - int(number) * SPANS[unit])
    try:
        day = date.fromisoformat(since)
    except ValueError:
        text = f"{since!r} is neither a day nor a span"
        raise ConfigError(text, code="usage.since", remedy="2026-01-31, or 12h, 30d, 4w") from None
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
