"""Waiting for real processes, with a limit and a sentence. Only tests with real parts need this."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ogpu_provider.devnet.provider_process import ProviderProcess
from ogpu_provider.domain.errors import StoreError
from ogpu_provider.domain.source import SourceState
from ogpu_provider.domain.units import Address
from ogpu_provider.store.reader import SqliteReader, open_readonly

T = TypeVar("T")


async def until(look: Callable[[], Awaitable[T | None]], timeout: float, what: str, pause: float = 0.1) -> T:
    """What `look` returns, once that is something. AssertionError after `timeout` seconds."""
    end = time.monotonic() + timeout
    while True:
        found = await look()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"waited {timeout:.0f} s for {what}")
        await asyncio.sleep(pause)


async def open_when_there(daemon: ProviderProcess, timeout: float = 60.0) -> SqliteReader:
    """The daemon's journal, once it has made it."""

    async def look() -> SqliteReader | None:
        daemon.check()
        try:
            return await open_readonly(daemon.data_dir / "provider.db")
        except StoreError:
            return None

    return await until(look, timeout, "the journal")


async def sources_ready(
    daemon: ProviderProcess, reader: SqliteReader, sources: set[Address], timeout: float = 300.0
) -> None:
    """Returns when all of `sources` are READY; fails at once with the reason of one that is UNFIT."""

    async def look() -> bool:
        daemon.check()
        rows = [row for row in await reader.sources() if row.address in sources]
        for row in rows:
            assert row.state is not SourceState.UNFIT, f"{row.name}: {row.code}: {row.reason}"
        return len([row for row in rows if row.state is SourceState.READY]) == len(sources)

    await until(look, timeout, "the sources to be ready")
