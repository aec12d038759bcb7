"""Independent pieces of work at once."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any


async def together(pieces: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do all of them, so that what they write shares a commit. The first error is raised when all are done."""
    for error in await asyncio.gather(*pieces, return_exceptions=True):
        if isinstance(error, BaseException):
            raise error
