"""Independent pieces of work at once."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

E = TypeVar("E", bound=BaseException)
T = TypeVar("T")


async def together(pieces: Iterable[Coroutine[Any, Any, object]]) -> None:
    """Do all of them, so that what they write shares a commit. The first error is raised when all are done."""
    for error in await asyncio.gather(*pieces, return_exceptions=True):
        if isinstance(error, BaseException):
            raise error


def begin(group: asyncio.TaskGroup, work: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
    """As a task of the group. Work that comes when the group is ending is closed, and whoever brought it is canceled.

    CancelledError, because the group ends for a reason of its own, which no other error is to hide.
    """
    try:
        return group.create_task(work, name=name)
    except RuntimeError as error:
        work.close()
        raise asyncio.CancelledError(f"{name}: {error}") from None


def first_of(errors: BaseExceptionGroup[E]) -> E:
    """The first error in a group of them, and of groups."""
    error: BaseExceptionGroup[E] | E = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
