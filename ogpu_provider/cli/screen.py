"""What people and scripts read. Text that others wrote is shown without control characters."""

import json
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal

from ogpu_provider.domain.units import COIN

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def printable(text: str) -> str:
    """One line, without what could steer a terminal or turn the direction of reading."""
    return "".join(" " if unicodedata.category(c) in _HIDDEN else c for c in text)


def line(text: str, indent: int = 0) -> None:
    """One sentence: on a terminal wrapped at its width, elsewhere a line of its own, so that scripts find it whole."""
    shown = " " * indent + printable(text)
    if sys.stdout.isatty():
        width = max(40, shutil.get_terminal_size().columns)
        behind = " " * (indent + 2)
        shown = textwrap.fill(shown, width, subsequent_indent=behind, break_long_words=False, break_on_hyphens=False)
    print(shown)


def amount(wei: int) -> str:
    """Coin for people: five decimals, more where the first figures stand behind them. --json has it exactly."""
    decimals = 5
    while decimals < 18 and 0 < abs(wei) < 100 * COIN // 10**decimals:
        decimals += 1
    return f"{Decimal(wei).scaleb(-18):.{decimals}f}".rstrip("0").rstrip(".")


def some(number: int, what: str) -> str:
    """1 task, 2 tasks."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def error(sentence: str, code: str, remedy: str = "", *, kind: str = "error") -> None:
    """On standard error; a sentence may have several lines."""
    lines = [f"{kind} [{code}]: " + "\n".join(printable(line) for line in sentence.splitlines())]
    lines += [f"remedy: {printable(remedy)}"] if remedy else []
    print("\n".join(lines), file=sys.stderr)


def document(value: object) -> None:
    """One JSON document on standard output."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Columns as wide as their widest cell; nothing is cut, so that an address can be copied."""
    cells = [list(head), *([printable("-" if c in (None, "") else str(c)) for c in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        print("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip())


def facts(pairs: Iterable[tuple[str, object]], indent: str = "") -> None:
    """Names and values under each other; those without a value are left out."""
    shown = [(name, printable(str(value))) for name, value in pairs if value not in (None, "", ())]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        print(f"{indent}{name.ljust(width)}  {value}")


def at(seconds: float | None) -> str:
    """Unix time for people, in local time; empty for none."""
    return datetime.fromtimestamp(seconds, UTC).astimezone().isoformat(" ", "seconds") if seconds else ""
