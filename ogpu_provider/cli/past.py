"""The chain's past as the commands see it: read from the node as far as it is new, kept in a file in `data_dir`."""

import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from ogpu_provider.cli.screen import printable
from ogpu_provider.domain.errors import ChainError
from ogpu_provider.domain.history import gaps

if TYPE_CHECKING:
    from ogpu_provider.chain.history import ChainPast
    from ogpu_provider.settings import Settings
    from ogpu_provider.store.history import HistoryStore

Since = Annotated[str, Parameter(help="A day (2026-01-31, UTC) or a span back from now (12h, 30d, 4w).")]
Offline = Annotated[
    bool, Parameter(negative="", show_default=False, help="Ask no node: what was read before has to do.")
]
FILE = "history.db"
_TOLD_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class Past:
    """`until`: the time of the last block that was read, 0 if none was. `problem`: why the chain could not be read."""

    store: "HistoryStore"
    until: float
    block: int
    problem: str = ""
    unread: int = 0


@asynccontextmanager
async def past(settings: "Settings", since: float, *, offline: bool = False) -> AsyncIterator[Past]:
    """Everything about tasks since `since` (unix seconds). A node that does not answer leaves what is known already.

    Raises StoreError, and ConfigError for settings that name no endpoint.
    """
    from ogpu_provider import telemetry
    from ogpu_provider.assembly import network_of
    from ogpu_provider.store.history import HistoryStore

    telemetry.configure(level="error", format="text")  # the answer says what failed
    network = network_of(settings)
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    store = await HistoryStore.open(settings.data_dir / FILE, network=f"{network.chain_id} {network.nexus}")
    try:
        problem, unread = "", 0
        if not offline:
            try:
                unread = await _catch_up(settings, store, since)
            except ChainError as error:
                problem = str(error)
        spans = await store.spans()
        until, block = (float(spans[-1].at), spans[-1].last) if spans else (0.0, 0)
        yield Past(store, until, block, problem, unread)
    finally:
        await store.close()


async def _catch_up(settings: "Settings", store: "HistoryStore", since: float) -> int:
    """Read what is missing; returns how many tasks there were whose contract did not answer."""
    from ogpu_provider.assembly import network_of, open_pool
    from ogpu_provider.chain.history import ChainPast
    from ogpu_provider.domain.clock import SystemClock

    network = network_of(settings)
    async with open_pool(settings, network) as pool:
        chain = ChainPast(pool, network, SystemClock())
        newest = await chain.newest()
        if newest is None:
            return 0
        await store.belongs("genesis", (await chain.block(0)).hash)
        spans = await store.spans()
        comparable = bool(spans) and spans[-1].last <= newest.number  # else the node is behind another one
        if comparable and (await chain.block(spans[-1].last)).hash != spans[-1].last_hash:
            await store.forget()
            spans = []
        first = await chain.first_since(since, newest.number)
        unread = await _read(chain, store, gaps(spans, first, newest.number))
        sources = await store.sources(since)
        await store.keep_params(await chain.terms(list(sources)))
        return unread


async def _read(chain: "ChainPast", store: "HistoryStore", missing: list[tuple[int, int]]) -> int:
    unread, tasks = 0, 0
    counter = _Counter(sum(last - first + 1 for first, last in missing))
    for first, last in missing:
        async for passage in chain.passages(first, last):
            await store.keep(passage)
            unread += passage.unread
            tasks += len(passage.published)
            counter.count(passage.last - passage.first + 1, tasks)
    counter.clear()
    return unread


class _Counter:
    """Says on standard error how far reading got: in place on a terminal, else a line now and then."""

    def __init__(self, blocks: int) -> None:
        self._blocks = blocks
        self._read = 0
        self._told = time.monotonic()
        self._terminal = sys.stderr.isatty()

    def count(self, blocks: int, tasks: int) -> None:
        self._read += blocks
        line = f"reading the chain: {self._read} of {self._blocks} blocks, {tasks} tasks"
        if self._terminal:
            print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
        elif time.monotonic() - self._told >= _TOLD_EVERY_S:
            self._told = time.monotonic()
            print(line, file=sys.stderr, flush=True)

    def clear(self) -> None:
        if self._terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def warn(found: Past) -> None:
    """On standard error: what is missing of the past."""
    if found.problem:
        print(
            printable(f"warning: the chain could not be read, so this ends at block {found.block}: {found.problem}"),
            file=sys.stderr,
        )
    if found.unread:
        print(f"warning: {found.unread} tasks are left out, their contracts did not answer", file=sys.stderr)
