"""A blocking stream of rows, read in a thread of its own and followed by one listener that may leave."""

import asyncio
import contextlib
import queue
import threading
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from typing import Any

from ogpu_provider.domain.errors import EngineError

Row = Mapping[str, Any]
_WAKE_SECONDS = 1.0


async def follow(
    start: Callable[[], Iterator[Row]], name: str, *, seconds: float, lost: Callable[[str], EngineError]
) -> AsyncGenerator[Row | None]:
    """The rows that `start` gives; None once it is open, and for each second in which nothing came.

    Raises what `lost` makes of a text if it is not open after `seconds`, or breaks. Leaving closes the stream.
    """
    rows: queue.SimpleQueue[Row | Exception | None] = queue.SimpleQueue()
    arrived = asyncio.Event()
    loop = asyncio.get_running_loop()
    opened: list[Any] = []
    left = threading.Event()

    def tell(row: Row | Exception | None) -> None:
        rows.put(row)
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(arrived.set)

    def read() -> None:
        try:
            stream = start()
            opened.append(stream)
            if left.is_set():
                _close(stream)
                return
            tell({})
            for row in stream:
                tell(row)
            tell(None)
        except Exception as error:  # handed to the one that waits
            tell(error)

    threading.Thread(target=read, name=name, daemon=True).start()
    give_up = loop.time() + seconds
    try:
        while True:
            try:
                async with asyncio.timeout(_WAKE_SECONDS):
                    await arrived.wait()
            except TimeoutError:
                if opened:
                    yield None
                elif loop.time() >= give_up:
                    raise lost(f"no answer in {seconds:g} s") from None
                continue
            arrived.clear()
            while not rows.empty():
                row = rows.get_nowait()
                if row is None:
                    return
                if isinstance(row, Exception):
                    raise row if isinstance(row, EngineError) else lost(str(row)) from row
                yield row or None
    finally:
        left.set()
        for stream in opened:
            _close(stream)


def _close(stream: Any) -> None:
    with contextlib.suppress(Exception):  # closed already, or not to be closed: the reader's thread is no service's
        stream.close()
