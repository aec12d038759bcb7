"""Two processes that both write to one file all the time."""

import fcntl
import os
from pathlib import Path


class Turn:
    """One of them writes at a time, and the next begins when it ends: SQLite's own waiting sleeps up to 100 ms at a
    time, and asks again in no order. The kernel ends it with its process. For `with`, by one thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = -1

    def open(self) -> None:
        """Raises OSError."""
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

    def __enter__(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *error: object) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
