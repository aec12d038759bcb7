"""A request's body as it comes: small ones in memory, larger ones in a file without a name, never both."""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from ogpu_provider.runtime.callback.jsonscan import json_problem

IN_MEMORY: Final = 16 * 1024
"""Bytes. What is larger is also looked at in a thread: the loop has others to serve."""
_PIECE: Final = 64 * 1024


class Body:
    """Close it at the end. `folder` is where large ones are kept meanwhile; None: the system's."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._start = bytearray()
        self._file: IO[bytes] | None = None
        self.size = 0

    @property
    def large(self) -> bool:
        return self._file is not None

    async def add(self, data: bytes) -> None:
        """Raises OSError if the disk is full."""
        self.size += len(data)
        if self._file is not None or self.size > IN_MEMORY:
            await asyncio.to_thread(self._write, data)
        else:
            self._start += data

    async def json_problem(self, depth: int, values: int) -> str:
        if self._file is None:
            return json_problem([bytes(self._start)], depth=depth, values=values)
        return await asyncio.to_thread(lambda: json_problem(self._pieces(), depth=depth, values=values))

    async def content(self) -> bytes:
        return bytes(self._start) if self._file is None else await asyncio.to_thread(self._whole)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _write(self, data: bytes) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115 - closed by close()
            self._file.write(self._start)
            self._start.clear()
        self._file.write(data)

    def _pieces(self) -> Iterator[bytes]:
        assert self._file is not None
        self._file.seek(0)
        while piece := self._file.read(_PIECE):
            yield piece

    def _whole(self) -> bytes:
        assert self._file is not None
        self._file.seek(0)
        return self._file.read()
