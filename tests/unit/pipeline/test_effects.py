"""What a block's facts do to a row, in their order and in as few saves as they allow."""

import pytest

from ogpu_provider.domain.task import Task, TaskState, Transition
from ogpu_provider.domain.units import Address
from ogpu_provider.pipeline.conductor import Outcome
from ogpu_provider.pipeline.effects import Effects
from tests.unit.pipeline.stage import Daemon, Outside, running, serving

NOBODY = Address("0x" + "99" * 20)


@pytest.fixture
def outside() -> Outside:
    return Outside()


async def submitted(daemon: Daemon) -> Task:
    source = daemon.outside.source()
    daemon.keeper.want(source)
    await serving(daemon, source)
    task = await daemon.task(await daemon.publish(source))
    assert task.state is TaskState.SUBMITTED
    return task


async def test_changes_of_one_block_are_one_save_and_each_sees_those_before_it(outside: Outside) -> None:
    async with running(outside) as daemon:
        before = await submitted(daemon)
        seen: list[int | None] = []

        def look(task: Task) -> Outcome:
            seen.append(task.finalized_block)
            return {"response": NOBODY}

        effects = Effects()
        effects.on(before.address, lambda task: {"finalized_block": 7})
        effects.on(before.address, look)
        effects.on(before.address, lambda task: None)
        await effects.act(daemon.conductor)
        after = await daemon.task(before.address)
        assert (after.finalized_block, after.response) == (7, NOBODY)
        assert after.version == before.version + 1
        assert seen == [7]


async def test_a_step_takes_the_changes_before_it_along_and_ends_the_save(outside: Outside) -> None:
    async with running(outside) as daemon:
        before = await submitted(daemon)
        states: list[TaskState] = []

        def look(task: Task) -> Outcome:
            states.append(task.state)
            return None

        effects = Effects()
        effects.on(before.address, lambda task: {"finalized_block": 7})
        effects.on(before.address, lambda task: Transition(TaskState.CANCELED))
        effects.on(before.address, look)
        await effects.act(daemon.conductor)
        after = await daemon.task(before.address)
        assert (after.state, after.finalized_block) == (TaskState.CANCELED, 7)
        assert states == [TaskState.CANCELED]


async def test_a_task_without_a_row_is_left_alone(outside: Outside) -> None:
    async with running(outside) as daemon:
        effects = Effects()
        effects.on(NOBODY, lambda task: {"finalized_block": 7})
        await effects.act(daemon.conductor)
        assert await outside.journal.task(NOBODY) is None
