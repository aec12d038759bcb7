"""Where a run's CPU time goes: by area of the program, in all threads, as cProfile sees it."""

import cProfile
import pstats
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

AREAS = (
    ("benchmarks/", "the benchmark's own: chain, pool, containers"),
    ("tests/", "the benchmark's own: chain, pool, containers"),
    ("ogpu_provider/store", "journal: rows, SQLite, commits"),
    ("ogpu_provider/chain/contracts", "calldata"),
    ("ogpu_provider/chain", "sender"),
    ("ogpu_provider/keys", "signing and its policy"),
    ("eth_", "signing and its policy"),
    ("Crypto", "signing and its policy"),
    ("coincurve", "signing and its policy"),
    ("ogpu_provider/pipeline", "conductor, intake, stages"),
    ("ogpu_provider/scheduler", "admission"),
    ("ogpu_provider/domain", "rows copied, enums, JSON"),
    ("dataclasses", "rows copied, enums, JSON"),
    ("<string>", "rows copied, enums, JSON"),
    ("enum", "rows copied, enums, JSON"),
    ("json", "rows copied, enums, JSON"),
    ("copy", "rows copied, enums, JSON"),
    ("asyncio", "asyncio"),
    ("selectors", "asyncio"),
    ("structlog", "log calls"),
    ("logging", "log calls"),
)
"""Part of a file's name, and its area; the first that fits."""


@contextmanager
def profiled() -> Iterator[list[cProfile.Profile]]:
    """Profile this thread and those that it starts, by their CPU time."""
    profiles = [cProfile.Profile(time.thread_time)]

    def start(frame: FrameType, event: str, arg: object) -> None:
        sys.setprofile(None)
        profiles.append(cProfile.Profile(time.thread_time))
        profiles[-1].enable()

    threading.setprofile(start)
    profiles[0].enable()
    try:
        yield profiles
    finally:
        profiles[0].disable()
        threading.setprofile(None)


def shares(profiles: list[cProfile.Profile]) -> dict[str, float]:
    """Percent of the CPU time of each area, largest first. What C functions take counts for their callers."""
    spent: Counter[str] = Counter()
    for profile in profiles:
        for (file, _, _), (_, _, own, _, callers) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
            if file != "~":
                spent[_area(file)] += own
            for (caller, _, _), (_, _, taken, _) in callers.items() if file == "~" else ():
                spent[_area(caller)] += taken
    total = sum(spent.values())
    return {area: round(100 * own / total, 1) for area, own in spent.most_common()}


def _area(file: str) -> str:
    return next((area for part, area in AREAS if part in file), "other")
