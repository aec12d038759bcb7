"""Pieces of work at once: none is lost, none is left over."""

import asyncio
import inspect

import pytest

from ogpu_provider.domain.together import begin


async def test_work_that_comes_when_its_group_is_ending_is_closed() -> None:
    done = []

    async def work(name: str) -> str:
        done.append(name)
        return name

    async with asyncio.TaskGroup() as group:
        first = begin(group, work("first"), name="first")
    assert first.result() == "first"
    late = work("late")
    with pytest.raises(RuntimeError):
        begin(group, late, name="late")
    assert inspect.getcoroutinestate(late) == inspect.CORO_CLOSED
    assert done == ["first"]
