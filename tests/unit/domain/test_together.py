"""Pieces of work at once: none is lost, none is left over."""

import asyncio
import inspect

import pytest

from ogpu_provider.domain.errors import StoreError
from ogpu_provider.domain.together import begin, first_of


async def test_work_that_comes_when_its_group_is_ending_is_closed_and_its_bringer_canceled() -> None:
    done = []

    async def work(name: str) -> str:
        done.append(name)
        return name

    async with asyncio.TaskGroup() as group:
        first = begin(group, work("first"), name="first")
    assert first.result() == "first"
    late = work("late")
    with pytest.raises(asyncio.CancelledError, match="late: TaskGroup"):
        begin(group, late, name="late")
    assert inspect.getcoroutinestate(late) == inspect.CORO_CLOSED
    assert done == ["first"]


async def test_why_a_group_ends_is_not_hidden_by_who_brings_it_work_meanwhile() -> None:
    """A task's driver dies at the moment at which the watcher delivers another task."""
    inner: asyncio.TaskGroup
    ending, brought = asyncio.Event(), asyncio.Event()

    async def conduct() -> None:
        nonlocal inner
        async with asyncio.TaskGroup() as inner:
            inner.create_task(die())
            inner.create_task(linger())

    async def die() -> None:
        ending.set()
        raise StoreError("the disk is full")

    async def linger() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await brought.wait()

    async def deliver() -> None:
        await ending.wait()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        try:
            begin(inner, asyncio.sleep(0), name="task")
        finally:
            brought.set()

    async def serve() -> None:
        async with asyncio.TaskGroup() as outer:
            outer.create_task(conduct())
            outer.create_task(deliver())

    with pytest.raises(BaseExceptionGroup) as raised:
        await serve()
    assert str(first_of(raised.value)) == "the disk is full"
    assert raised.value.split(StoreError)[1] is None
